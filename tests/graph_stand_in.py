"""A stand-in for CUDA graphs: a capture keeps the step and its memory, and a replay runs it again on these."""

import torch


class StandIn:
    """As :class:`spatialgraph.training.captured.CudaGraph`, on any device; ``model`` is set by a test."""

    model, captures, replays, warm_ups = None, 0, 0, 0

    @staticmethod
    def warm_up(step, inputs):
        StandIn.warm_ups += 1
        return step(*inputs)

    def capture(self, step, inputs):
        StandIn.captures += 1
        assert all(parameter.grad is None for parameter in self.model.parameters())
        with torch.random.fork_rng():  # a capture draws no numbers
            self.results = step(*inputs)
        self.step, self.inputs = step, inputs
        self.parameters = list(self.model.parameters())
        self.grads = [parameter.grad for parameter in self.parameters]
        for own in (*self.results, *(grad for grad in self.grads if grad is not None)):
            own.fill_(torch.nan)  # a capture computes nothing
        return self.results

    def replay(self):
        StandIn.replays += 1
        new = self.step(*self.inputs)
        for own, values in zip(self.results, new, strict=True):
            own.copy_(values)
        for parameter, grad in zip(self.parameters, self.grads, strict=True):
            if grad is not None:
                grad.copy_(parameter.grad)
            parameter.grad = None  # the memory of the replay is not that of the parameter by itself
