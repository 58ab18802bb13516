"""Training of an adapter on prepared rows. Needs the extra ``adapt``; nothing of it is loaded by a worker.

``recipe`` says what is wanted, ``base`` what is adapted, ``examples`` turns rows into token ids, ``plan`` decides
which of them come when: all four without torch. ``model`` and ``loop`` import torch; ``log`` is written while it
goes on; ``run`` is the door.
"""
