"""Training with Lightning on the simulated accelerator."""

import contextlib
import gc

import simulated_device
import torch
from lightning import Callback
from lightning.pytorch.accelerators import Accelerator, AcceleratorRegistry
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.strategies import SingleDeviceStrategy

from spatialgraph.training import fit


class SimAccelerator(Accelerator):
    """The simulated device, as Lightning sees it."""

    def setup_device(self, device):
        pass

    def teardown(self):
        pass

    @staticmethod
    def parse_devices(devices):
        return devices

    @staticmethod
    def get_parallel_devices(devices):
        return [torch.device(simulated_device.NAME, 0)]

    @staticmethod
    def auto_device_count():
        return 1

    @staticmethod
    def is_available():
        return True

    @staticmethod
    def name():
        return simulated_device.NAME


class Scaled(MixedPrecision):
    """The scaler of mixed precision without autocast, which the simulated device does not have."""

    def __init__(self, precision, device):
        super().__init__(precision, simulated_device.NAME)

    def autocast_context_manager(self):
        return contextlib.nullcontext()


class Waits(Callback):
    """Record waits and launches from the first step of each epoch to its last, fetching of batches included."""

    def __init__(self):
        self.waits, self.steps = [], 0

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == 0:
            simulated_device.record.clear()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.steps += 1
        if batch_idx == trainer.num_training_batches - 1:
            self.waits += simulated_device.record.waits


def fit_there(model, *args, **options):
    """Train on the simulated device."""
    if simulated_device.NAME not in AcceleratorRegistry:
        AcceleratorRegistry.register(simulated_device.NAME, SimAccelerator, description="simulated")
    strategy = SingleDeviceStrategy(torch.device(simulated_device.NAME, 0))
    with torch.serialization.safe_globals([simulated_device._rebuilt]):
        return fit(model, *args, device=simulated_device.NAME, strategy=strategy, **{"progress": False} | options)


def bytes_in_use():
    gc.collect()
    return simulated_device.record.live
