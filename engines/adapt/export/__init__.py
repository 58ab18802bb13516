"""Export of a trained adapter as an engine bundle. Only a merged checkpoint needs torch.

``base_parts`` says what an adapter was trained on, ``gate_file`` whether it may be exported, ``weights`` writes the
weights; ``export`` is the door. ``ship`` writes the adapter that the package brings.
"""
