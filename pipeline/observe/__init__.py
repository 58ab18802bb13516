"""What people and programs see of a worker: metrics, logs, traces, holds, the ops port."""
