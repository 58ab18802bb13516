"""Training of an adapter on prepared rows. Needs the extra ``adapt``; nothing of it is loaded by a worker.

``recipe`` says what is wanted, ``base`` what is adapted, ``examples`` turns rows into token ids,
``order`` decides which of them come when: all four without torch. ``model``, ``loss``, ``dev``,
``checkpoint``, ``estimate`` and ``loop`` import torch; ``run`` is the door.
"""
