"""Models on the Hub and on this disk: names, downloads, what is here."""
