"""Does a disguise change the verdict? Near copies in a stream against their originals, with folded forms and without."""
