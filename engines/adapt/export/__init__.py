"""Export of a trained adapter as an engine bundle. Only ``merged_checkpoint`` needs torch.

``peft_adapter`` reads an adapter, ``gguf_merge`` adds it to a GGUF base, ``base_parts`` says what an adapter
was trained on, ``gate_file`` whether it may be exported, ``bundle_folder`` writes the bundle; ``export`` is the door.
"""
