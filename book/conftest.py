"""How `pytest --nbval book` runs the notebooks, however it is started."""

import os

# Inherited by the kernels. A sum's last digits depend on the number of threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")


def pytest_collectstart(collector):
    # nbval leaves png and jpeg out of the comparison, for a picture's bytes change
    # with fonts and libraries; the same holds for animations.
    if type(collector).__name__ == "IPyNbFile":
        collector.skip_compare += ("image/gif",)
