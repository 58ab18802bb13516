import pytest
from support.collector import account
from support.workers import until
pytestmark = pytest.mark.kafka
MUT = {
"early ack": """
import sluicegate.pipeline.flow as f
orig = f.Flow._publish
async def early(self, answered):
    for a in answered: self._window.finish(a.held)
    import asyncio; await asyncio.sleep(0.8)
    real = self._window.finish; self._window.finish = lambda h: None
    try: await orig(self, answered)
    finally: self._window.finish = real
f.Flow._publish = early
""",
"out of order": """
import sluicegate.pipeline.window as w
def finish(self, held):
    if held.released or held.finished: return
    held.finished = True
    row = self._rows[held.delivery.partition]; row.remove(held)
    self._posts -= 1; self._bytes -= held.size_bytes
    held.delivery.acknowledge(); self._changed.set()
w.Window.finish = finish
"""}
@pytest.mark.parametrize("name", MUT)
def test_mutant(lane, name, tmp_path):
    d = tmp_path/"m"; d.mkdir(); (d/"sitecustomize.py").write_text(MUT[name])
    env = {"PYTHONPATH": str(d)}
    lane.set_fake(call_overhead_s=0.2, )
    if name == "out of order": lane.set_faults(slow={"marker": "number 7", "delay_s": 1.0})
    workers = [lane.start(environment=env), lane.start(environment=env)]
    for w in workers: w.wait_ready()
    until("p", lambda: min(w.metric("sluicegate_partitions_assigned") for w in workers) > 0 , within_s=30)
    sent = lane.send({"id": f"post-{n}", "text": f"post number {n}"} for n in range(5000))
    lane.wait_answers(1000, within_s=60)
    workers[0].kill()
    lane.wait_acknowledged(within_s=60)
    f = account(sent, lane.read())
    print(name, "LOST", len(f.lost), f.repeats_same_id)
