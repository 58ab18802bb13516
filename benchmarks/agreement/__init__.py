"""Do an exported bundle and the adapter it was made of say the same?"""
