"""How far do injection attempts move the scores of the CPU model?"""
