"""Checks our TensorBoard event files against the `tensorboard` package.

    python scripts/golden/tensorboard_check.py              compare tests/golden/tensorboard with the package
    python scripts/golden/tensorboard_check.py --write      build those files with the package (then compare)
    python scripts/golden/tensorboard_check.py <run>/tb     read any run's event files and list what they hold

The golden files hold what tests/train/metrics_test.cpp (EventFilesEqualTensorBoardsOwn) writes. Here the same events
are built with the package's own protocol buffers and framing, so equal bytes mean that ours are valid; then both are
read back through its EventFileLoader (checksums included) and through EventAccumulator (what the web page shows).
Needs tensorboard (2.21.0 was used for the files in the repository).
"""

import pathlib
import struct
import sys

import tensorboard
from tensorboard.backend.event_processing import event_accumulator, event_file_loader
from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
from tensorboard.util import tensor_util

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/tensorboard"
TEXT = "**7+5** gives \N{MINUS SIGN} 12\n" + "x" * 200


def frame(event):
    data = event.SerializeToString(deterministic=True)
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc32c(length)) + data + struct.pack("<I", masked_crc32c(data))


class Clock:
    def __init__(self):
        self.now = 1_700_000_000.25 - 1

    def __call__(self):
        self.now += 1
        return self.now


def scalars(clock, step, values):
    entries = [summary_pb2.Summary.Value(tag=tag, simple_value=value) for tag, value in values]
    return event_pb2.Event(wall_time=clock(), step=step, summary=summary_pb2.Summary(value=entries))


def text(clock, step, tag, content):
    tensor = tensor_pb2.TensorProto(
        dtype="DT_STRING",
        tensor_shape=tensor_shape_pb2.TensorShapeProto(dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=1)]),
        string_val=[content.encode()],
    )
    metadata = summary_pb2.SummaryMetadata(plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name="text"))
    entry = summary_pb2.Summary.Value(tag=tag, metadata=metadata, tensor=tensor)
    return event_pb2.Event(wall_time=clock(), step=step, summary=summary_pb2.Summary(value=[entry]))


def first_file():
    clock = Clock()
    return [
        event_pb2.Event(wall_time=clock(), file_version="brain.Event:2"),
        scalars(clock, 0, [("grpo/loss", 0.0), ("grpo/reward", -1.5)]),
        scalars(clock, 1, [("grpo/loss", 1 / 3), ("grpo/reward/format", float("inf"))]),
        scalars(clock, 1_000_000, [("grpo/loss", 2.0)]),
        text(clock, 2, "grpo/sample", TEXT),
        scalars(clock, 3, []),
    ]


def resumed_file():
    clock = Clock()
    opened = clock()
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    return [
        event_pb2.Event(wall_time=opened, step=2, file_version="brain.Event:2"),
        event_pb2.Event(wall_time=opened, step=2, session_log=start),
        scalars(clock, 2, [("grpo/loss", 0.25)]),
    ]


def read_values(folder):
    """All scalars and texts that TensorBoard shows for a folder: {tag: [(step, value)]}."""
    shown = event_accumulator.EventAccumulator(str(folder), size_guidance=dict.fromkeys(
        (event_accumulator.SCALARS, event_accumulator.TENSORS), 0))
    shown.Reload()
    values = {tag: [(e.step, e.value) for e in shown.Scalars(tag)] for tag in shown.Tags()["scalars"]}
    for tag in shown.Tags()["tensors"]:
        values[tag] = [(e.step, tensor_util.make_ndarray(e.tensor_proto).ravel()[0]) for e in shown.Tensors(tag)]
    return values


def check_golden():
    for name, events in (("first.tfevents", first_file()), ("resumed.tfevents", resumed_file())):
        stored = (GOLDEN / name).read_bytes()
        assert stored == b"".join(map(frame, events)), f"{name}: bytes differ from the package's"
        loaded = list(event_file_loader.RawEventFileLoader(str(GOLDEN / name)).Load())
        assert loaded == [event.SerializeToString(deterministic=True) for event in events], f"{name}: reads differently"
        print(f"{name}: {len(stored)} bytes, {len(loaded)} events, equal to tensorboard {tensorboard.__version__}'s own")


def check_purge(folder):
    """The two golden files as one run: step 1,000,000 is forgotten, step 2 is the new one.

    TensorBoard purges scalars only: the text of the first file's step 2 stays.
    """
    for number, name in enumerate(("first.tfevents", "resumed.tfevents")):
        (folder / f"events.out.tfevents.{1_700_000_000 + number:010d}.r1").write_bytes((GOLDEN / name).read_bytes())
    values = read_values(folder)
    third = struct.unpack("<f", struct.pack("<f", 1 / 3))[0]
    assert values == {
        "grpo/loss": [(0, 0.0), (1, third), (2, 0.25)],
        "grpo/reward": [(0, -1.5)],
        "grpo/reward/format": [(1, float("inf"))],
        "grpo/sample": [(2, TEXT.encode())],
    }, values
    print("resumed run: the scalars of the first file beyond it are purged, as they must be")


def main():
    import tempfile

    arguments = sys.argv[1:]
    if arguments and arguments[0] != "--write":
        for tag, points in sorted(read_values(arguments[0]).items()):
            print(f"{tag}: {len(points)} points, last {points[-1] if points else None}")
        return
    if arguments:
        GOLDEN.mkdir(parents=True, exist_ok=True)
        (GOLDEN / "first.tfevents").write_bytes(b"".join(map(frame, first_file())))
        (GOLDEN / "resumed.tfevents").write_bytes(b"".join(map(frame, resumed_file())))
    check_golden()
    with tempfile.TemporaryDirectory() as folder:
        check_purge(pathlib.Path(folder))


if __name__ == "__main__":
    main()
