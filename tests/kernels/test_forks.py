"""Kernels in forked processes, which have none of their parent's threads and may inherit locks that others held."""

import pytest
from numba_processes import by_tensor_operations, run

pytest.importorskip("numba")

FORKS = """
import torch.utils.data
from spatialgraph.kernels import compilation

class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, place):
        return torch.tensor(used() + make()(), dtype=torch.float64)

def in_child():
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        with compilation._lock:
            pass
        print(*used(), *make()(), flush=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        sys.exit(f"the child ended with {status}")

def in_worker():
    print(*next(iter(torch.utils.data.DataLoader(Data(), num_workers=1, multiprocessing_context="fork")))[0].tolist())

def hold():
    with compilation._lock:
        taken.set()
        threading.Event().wait()

used = make()
for threads in (1, 2):  # before the parent itself computes by a kernel
    torch.set_num_threads(threads)
    torch.nn.Linear(200, 400)(torch.rand(300, 200)).sum().backward()
    in_child()
for threads in (2, 1):
    torch.set_num_threads(threads)
    used()
    in_child()
    in_worker()
torch.set_num_threads(2)
taken = threading.Event()
threading.Thread(target=hold, daemon=True).start()
taken.wait()
in_child()
"""


def test_forked_processes_compute():
    numbers, warned = run(FORKS)
    right = by_tensor_operations()
    assert len(numbers) == 7
    assert all(line == pytest.approx(right * 2, rel=1e-4) for line in numbers)
    assert not warned
