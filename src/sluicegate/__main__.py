"""``python -m sluicegate`` runs the command."""

from sluicegate.pipeline.command import main

if __name__ == "__main__":
    main()
