"""The version of modelstitch, written once: the package, its records and its metadata read it here."""

VERSION = "0.1.0"
