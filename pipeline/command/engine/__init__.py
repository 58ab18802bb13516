"""`sluicegate engine`: what the engine is fetched, built, sized and served with."""
