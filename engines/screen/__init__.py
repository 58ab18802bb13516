"""The screen: a light CPU model that answers easy posts before the engine, where it is surely right."""
