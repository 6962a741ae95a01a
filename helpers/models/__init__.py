"""Networks: built, trained, kept, asked."""

import os

from helpers.runs import cache_home

# A person's keras.json is for their own programs: another backend, float16 or channels_first would
# change what is computed here. Keras writes its defaults into a home that is empty.
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["KERAS_HOME"] = str(cache_home() / "keras")
# TensorFlow leaves oneDNN off on processors without AVX-512; with it a training step there takes
# 10 to 45 % less time.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
