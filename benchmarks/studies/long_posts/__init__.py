"""Does one harmful sentence raise the same verdict wherever it stands in a long text?"""
