"""Architectures: those of five public recipes and the project's own, one builder each.

A builder returns a *body*: features in, one probability per class out. For frame families its
``shape`` is ``(n_frames, n_mels)``, of which any number of frames is taken, and
:func:`with_front_end` puts the log-mel before it, so that the saved model takes a raw waveform.
Only built-in Keras layers are used: the file loads anywhere without this package.
"""

from __future__ import annotations

from helpers.features.extract import FeatureSettings
from helpers.sound.audio import SAMPLE_RATE


def build_front_end(settings: FeatureSettings):
    """Waveform → picture as :func:`helpers.features.extract.compute_features` computes it.

    Parameters
    ----------
    settings : FeatureSettings

    Returns
    -------
    keras.Model
        Input ``(batch, n_samples)`` float32 at 16 kHz, any length; output
        ``(batch, n_frames, n_bins)`` in dB above ``range_db`` below the clip's loudest bin.
    """
    from keras import Input, Model, layers

    wave = Input((None,), name="waveform")
    x = layers.MelSpectrogram(
        fft_length=settings.n_fft,
        sequence_stride=settings.hop,
        sampling_rate=SAMPLE_RATE,
        num_mel_bins=settings.n_mels,
        min_freq=0.0,
        # Keras clamps against the loudest clip of the batch: 200 dB above min_power are out of
        # reach, so no clip can change its neighbour.
        top_db=200.0,
        min_power=1e-14,
    )(wave)
    x = layers.Permute((2, 1))(x)
    # The clip's own maximum, from layers that any Keras can load: a global pool, then a difference.
    x = layers.Reshape((-1, settings.n_mels, 1))(x)
    loudest = layers.GlobalMaxPooling2D(keepdims=True)(x)
    x = layers.Subtract()([x, loudest])
    x = layers.ReLU()(layers.Rescaling(1.0, offset=settings.range_db)(x))
    return Model(wave, layers.Reshape((-1, settings.n_mels))(x), name="log_mel")


def with_front_end(body, settings: FeatureSettings):
    """Join front end and body: raw 16 kHz waveform in, probabilities out."""
    from keras import Input, Model

    wave = Input((None,), name="waveform")
    return Model(wave, body(build_front_end(settings)(wave)), name=body.name)


def average(bodies: list, *, name: str):
    """One body that answers with the mean of the probabilities of several, each of its own name."""
    from keras import Input, Model, layers

    inputs = Input(bodies[0].input_shape[1:], name="log_mel_frames")
    return Model(inputs, layers.Average()([body(inputs) for body in bodies]), name=name)


def embed(body):
    """What a body makes of a picture before its last layer names an emotion.

    Parameters
    ----------
    body : keras.Model
        One network on log-mel frames, or several of :func:`average`.

    Returns
    -------
    keras.Model
        Log-mel frames in, ``(batch, n_columns)`` out; of several networks, side by side.
    """
    from keras import Input, Model, layers

    members = [layer for layer in body.layers if isinstance(layer, Model)] or [body]
    inputs = Input(body.input_shape[1:], name="log_mel_frames")
    parts = [Model(member.inputs, member.layers[-1].input)(inputs) for member in members]
    return Model(inputs, layers.Concatenate()(parts) if len(parts) > 1 else parts[0])


def build_mfcc_lstm(n_columns: int, n_classes: int):
    """Averaged-MFCC LSTM: it steps through 40 MFCC *means* as if they were time."""
    from keras import Input, Model, layers

    inputs = Input((n_columns,), name="mfcc_means")
    x = layers.Reshape((n_columns, 1))(layers.Normalization(name="scale")(inputs))
    x = layers.BatchNormalization()(layers.LSTM(128)(x))
    for units in (256, 128, 64, 32):
        x = layers.Dropout(0.2)(layers.Dense(units, activation="relu")(x))
    return Model(inputs, layers.Dense(n_classes, activation="softmax")(x), name="mfcc_lstm")


def build_functionals_mlp(n_columns: int, n_classes: int):
    """Functionals MLP: dense layers on 254 functionals (its public recipe calls it a CNN)."""
    from keras import Input, Model, layers, regularizers

    inputs = Input((n_columns,), name="functionals")
    x = layers.Normalization(name="scale")(inputs)
    for units in (512, 256, 128, 64):
        x = layers.Dense(units, activation="relu", kernel_regularizer=regularizers.L2(1e-4))(x)
        x = layers.Dropout(0.3)(layers.BatchNormalization()(x))
    return Model(inputs, layers.Dense(n_classes, activation="softmax")(x), name="functionals_mlp")


def build_vector_cnn(n_columns: int, n_classes: int):
    """Conv1D on averaged features: convolutions along the 162 columns of the vector."""
    from keras import Input, Model, layers

    inputs = Input((n_columns,), name="vector")
    x = layers.Reshape((n_columns, 1))(layers.Normalization(name="scale")(inputs))
    for filters, dropout in ((256, 0), (128, 0.2), (64, 0)):
        x = layers.Conv1D(filters, 5, padding="same", activation="relu")(x)
        x = layers.MaxPooling1D(5, padding="same")(x)
        x = layers.Dropout(dropout)(x) if dropout else x
    x = layers.Dense(32, activation="relu")(layers.Flatten()(x))
    outputs = layers.Dense(n_classes, activation="softmax")(layers.Dropout(0.3)(x))
    return Model(inputs, outputs, name="vector_cnn")


def _picture(shape: tuple[int, int]):
    """Input of log-mel frames in dB, each band scaled by its values on the training set."""
    from keras import Input, layers

    inputs = Input((None, shape[1]), name="log_mel_frames")
    x = layers.Rescaling(1 / 40, offset=-1.0)(inputs)
    return inputs, layers.BatchNormalization(momentum=0.95)(x)


def _convolve(x, filters: int, *, size: int = 3, stride: int | tuple[int, int] = 1):
    """Convolution, batch normalisation, ReLU."""
    from keras import layers

    x = layers.Conv2D(filters, size, strides=stride, padding="same", use_bias=False)(x)
    # The usual momentum of 0.99 lags behind over the few hundred steps of a small corpus.
    return layers.ReLU()(layers.BatchNormalization(momentum=0.95)(x))


def _pool_time(x, *, heads: int = 0):
    """Mean and maximum over time: what was heard counts, not when; and so many weighted means."""
    from keras import layers

    pools = [layers.GlobalAveragePooling1D()(x), layers.GlobalMaxPooling1D()(x)]
    if heads:
        weights = layers.Softmax(axis=1)(layers.Dense(heads)(x))
        pools.append(layers.Flatten()(layers.Dot(axes=1)([weights, x])))
    return layers.Concatenate()(pools)


def build_lstm(shape: tuple[int, int], n_classes: int):
    """The project's LSTM: bidirectional over log-mel frames, three at a time."""
    from keras import Model, layers

    inputs, x = _picture(shape)
    x = layers.Conv1D(96, 5, strides=3, padding="same", activation="relu")(x)
    x = layers.Dropout(0.2)(layers.BatchNormalization(momentum=0.95)(x))
    x = layers.Bidirectional(layers.LSTM(64, return_sequences=True))(x)
    x = layers.Dropout(0.4)(_pool_time(x))
    return Model(inputs, layers.Dense(n_classes, activation="softmax")(x), name="lstm")


def build_cnn_lstm(shape: tuple[int, int], n_classes: int):
    """CNN-LSTM hybrid: convolutions, then an LSTM over what they found, then dense layers."""
    from keras import Model, layers

    inputs, x = _picture(shape)
    x = _convolve(layers.Reshape((-1, shape[1], 1))(x), 16, size=5, stride=(2, 4))
    x = layers.MaxPooling2D((1, 2))(_convolve(layers.MaxPooling2D(2)(x), 32))
    x = _convolve(x, 48)
    x = layers.Reshape((-1, shape[1] // 16 * 48))(x)
    x = layers.Dropout(0.3)(layers.LSTM(64)(x))
    x = layers.Dropout(0.3)(layers.Dense(64, activation="relu")(x))
    return Model(inputs, layers.Dense(n_classes, activation="softmax")(x), name="cnn_lstm")


def build_cnn(shape: tuple, n_classes: int, *, name: str = "cnn", filters=128, heads: int = 0):
    """The project's CNN: convolutions in time and frequency, then over time with frequency kept.

    Parameters
    ----------
    shape : tuple of int
        ``(n_frames, n_mels)``; a multiple of 16 bands.
    n_classes : int
    name : str
        Networks that :func:`average` joins need different ones.
    filters : int
        Of the convolution over time.
    heads : int
        Weighted means over time beside mean and maximum. The weights are learned.
    """
    from keras import Input, Model, layers

    inputs = Input((None, shape[1]), name="log_mel_frames")
    x = layers.Rescaling(1 / 80)(layers.Reshape((-1, shape[1], 1))(inputs))
    # One scale for all bands: what a band's own scale would even out is part of the emotion.
    x = layers.BatchNormalization(momentum=0.95)(x)
    x = _convolve(_convolve(x, 16, size=5, stride=2), 32, stride=2)
    x = layers.MaxPooling2D((1, 2))(_convolve(x, 48))
    x = layers.MaxPooling2D((2, 2))(_convolve(x, 64))
    # Pooling over all frequencies would forget *where* something is, and with it pitch.
    x = layers.Reshape((-1, shape[1] // 16 * 64))(x)
    x = layers.Conv1D(filters, 3, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.95)(x))
    # Little dropout: augmentation already keeps so small a network from learning clips by heart.
    x = layers.Dropout(0.2)(_pool_time(x, heads=heads))
    return Model(inputs, layers.Dense(n_classes, activation="softmax")(x), name=name)
