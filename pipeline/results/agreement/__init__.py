"""How far models, judges and people agree that answers give what their questions ask for."""
