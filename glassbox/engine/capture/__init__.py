"""Capture: the fast form of a network, and the proof that it computes what the layers say.

The meaning of a network is its layers, called one after the other (see `glassbox.engine.step`).
Where their code is the code that was shipped, the kernel calls of a pass are recorded and replayed,
and some neighbors are fused.  Everything else (an edited layer, a class of one's own, a loss of
one's own) runs as written between the recorded parts.  Nothing outside this folder knows of it,
except kernels, which make their calls through `glassbox.kernels.recorder.call`.

shipped   which code is as it was shipped
watch     notices when an attribute of a layer, or its class, is replaced
fused     two layers computed in one go
segment   a run of recorded layers: replays them, and compares them with the layers themselves
captured  a whole pass: images in, segments, loss, gradients out; and the pool of such passes
"""
