"""Laws: functions from the length of a synapse to its weight."""

from spatialgraph.laws.compact import Compact
from spatialgraph.laws.decaying import Gaussian, InverseDistance, InversePower, Yukawa
from spatialgraph.laws.law import LAWS, Law, make_law, register_law, softened_square, unregister_law
from spatialgraph.laws.oscillating import Cosine, CosineWave, MexicanHat, SineWave

__all__ = [
    "LAWS",
    "Compact",
    "Cosine",
    "CosineWave",
    "Gaussian",
    "InverseDistance",
    "InversePower",
    "Law",
    "MexicanHat",
    "SineWave",
    "Yukawa",
    "make_law",
    "register_law",
    "softened_square",
    "unregister_law",
]

_LAWS: dict[str, type[Law]] = {
    "inverse_distance": InverseDistance,
    "inverse_power": InversePower,
    "gaussian": Gaussian,
    "yukawa": Yukawa,
    "cosine": Cosine,
    "sine_wave": SineWave,
    "cosine_wave": CosineWave,
    "mexican_hat": MexicanHat,
    "compact": Compact,
}
for _name, _law in _LAWS.items():
    register_law(_name, _law)
