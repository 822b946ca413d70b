"""The model of a chosen setting: exported, trained again, written, used."""
