"""Support: what many rooms need and none of them owns. ``settings`` writes settings as text and reads them again."""

__all__: list[str] = []
