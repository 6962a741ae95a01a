"""A network that learns from others as well as from the emotions (knowledge distillation).

The teachers hear the very picture that the student hears, spoilt in the same way, so that what they
say of it is never known by heart.
"""

from __future__ import annotations

TAUGHT = 0.5  # of the loss; the rest is the emotion's


def make_student(body, teacher):
    """The same layers with a loss of their own, to be trained in place of ``body``.

    Parameters
    ----------
    body : keras.Model
        What learns, and is kept.
    teacher : keras.Model
        Pictures in, probabilities out, for instance from :func:`helpers.models.builders.average`.
    """
    import keras

    teacher.trainable = False

    class Student(keras.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            own = super().compute_loss(x, y, y_pred, sample_weight, training)
            said = teacher(x, training=False)
            taught = keras.ops.mean(keras.losses.categorical_crossentropy(said, y_pred))
            return (1 - TAUGHT) * own + TAUGHT * taught

    return Student(body.inputs, body.outputs)
