"""The text of docs/race.md, with places for tables."""

CAPTION = "Accuracy on MNIST over the number of parameters; hollow points are published, others measured here"
TEXT = """# Accuracy per parameter

How accurate is a network with so many numbers? Small spatial networks are compared with dense networks, hashed weights
([Chen et al., 2015](https://arxiv.org/abs/1504.04788)) and tensor trains
([Novikov et al., 2015](https://arxiv.org/abs/1509.06569)) of equal size. All networks are fully connected.
`examples/race.py` trains them, `examples/microcontroller.py` exports some of them as C, and `python docs/make_race.py`
writes this page from `results/race.json`, `results/race_fashion.json` and `results/microcontroller.json`.

Within a group, networks have the same data, epochs, batches and distortion of the images. Peak rates, shapes and
distortions were tried once each on held-out training images (`benchmarks/race_settings.py`,
`results/race_settings.json`), rates in trainings of 20 epochs. Neighbouring rates differ by about 0.1 points, which is
the scatter; the longer trainings of spatial networks have 0.03, between 0.02 and 0.05 that were tried. The rates of the
teacher and of the training with few bits were not varied. Test images are read once, after training. Numbers are means
and standard deviations of {seeds} seeds; minutes are the median of one training on one thread, beside other work.

![{caption}](images/race.png)

*{caption}.*

## Images

Spatial networks know where pixels are: inputs are the cells of a grid, with coordinates and polarities of rows and
columns. The tensor train knows it too, for its matrices stand for parts of the numbers of rows and columns. The dense
and the hashed network do not. All are trained for {image_epochs} epochs on images that are distorted anew in each:
rotated by up to 8 degrees, moved by up to 7 % of the side, scaled by up to 7 %, sheared by up to 4 degrees.

{image}

The tensor train is the most accurate. Spatial networks come next: with half the parameters they are still ahead of
hashed weights and of the dense network.

How strongly images are distorted matters little in long trainings. These were tried once each, on held-out images; the
race has the medium one:

{tried_distortion}

## With a teacher

A dense network of 784-1024-512-10 is trained first, for {distilled_epochs} epochs. The spatial network of 10,572
parameters then learns from its outputs as well as from the classes; else as above.

{distilled}

That is as accurate as without a teacher, within the scatter of the seeds, and takes longer.

## Pixels in any order

{any_order_epochs} epochs; no network knows where pixels are, and images are not distorted. The spatial network is
784-200-143-10 in nine dimensions, and each input has a position of its own. Pixels are shuffled for the tensor train.

{any_order}

The spatial network is ahead of the dense one, and behind hashed weights and the tensor train. The latter reaches
{best_train} % on held-out images after 20 epochs. None of these variants of equal size, trained once each, comes up to
it there:

{tried_any_order}

## Spiking networks

{spiking_epochs} epochs on distorted images; 25 time steps, constant input currents, classes read from membrane
potentials.

{spiking}

## Fashion-MNIST

The settings of the images above on a data set on which nothing was chosen, the distortion of digits included
([Xiao et al., 2017](https://arxiv.org/abs/1708.07747)). Hashed weights and tensor trains were not trained on it.

{fashion}

## Few bits

Positions, polarities and biases as whole numbers times a scale. With 8 bits they are rounded after training; with 4
bits, training goes on for ten epochs.

{few_bits}

## On a microcontroller

Networks as C with whole numbers only, on all 10,000 test images; weights are computed from positions where they are
needed, which takes more instructions than to read them. Instructions and stack were measured in a simulator, for code
that was compiled with `-O2`. {equal}

{devices}

## Published networks

Figures of fully connected networks, as their sources give them.

{published}

## Commands

```bash
{commands}
```
"""
