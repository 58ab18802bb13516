"""TensorRT-LLM in process: what a bundle says of it, and the one module that calls it.

=================== ==============================================================
:mod:`.serving`     ``serving.json``: runtime, limits and folders of a bundle;
                    configuration of a server of its own
:mod:`.border`      imports TensorRT-LLM, late; every call into it, and every
                    field read from its answers
:mod:`.in_flight`   prompts in work: places, deadlines, aborts
=================== ==============================================================

Written against the documentation of TensorRT-LLM 1.2.1 and checked against a stand-in made from
it (``make conformance``). None of it has been run on a GPU.
"""
