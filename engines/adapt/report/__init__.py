"""What every report is made of: tables, pictures and the data card."""
