"""Does the gate refuse an adapter whose training data had the labels of one language flipped?"""
