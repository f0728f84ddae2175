"""Wheels by the requirements that an image was installed from, and by the names of files."""

from __future__ import annotations

import pytest

from thoth_models.bundle.digest import Digest
from thoth_models_builder.trust.bill.requirements import Wheel, merged, parse_requirements, wheel_of

ONE, TWO = Digest.of(b"one"), Digest.of(b"two")
NUMPY = Wheel(name="numpy", version="2.4.6", sha256=ONE)


def test_each_line_is_a_wheel() -> None:
    text = f"""# --python 3.13 --glibc 36 --machine x86_64
numpy==2.4.6 --hash=sha256:{ONE}
Some_Package==1.0+cpu --hash=sha256:{TWO}  # a comment

pinned==1.0 \\
    --hash=sha256:{ONE} \\
    --hash=sha256:{TWO}
"""
    assert parse_requirements(text.encode()) == [
        NUMPY,
        Wheel(name="some-package", version="1.0+cpu", sha256=TWO),
        Wheel(name="pinned", version="1.0", sha256=None),
    ]


def test_an_empty_file_has_none() -> None:
    assert parse_requirements(b"\n# nothing\n") == []


@pytest.mark.hostile
@pytest.mark.parametrize(
    "line",
    [
        "numpy",
        "numpy==2.4.6",
        f"numpy>=2 --hash=sha256:{ONE}",
        f"numpy==2.* --hash=sha256:{ONE}",
        f"numpy==2 --hash=md5:{ONE}",
        f"numpy==2 --hash=sha256:{ONE}0",
        f"numpy==2 ; python_version < '3' --hash=sha256:{ONE}",
        "-r other.txt",
        "--index-url https://user:secret@example.org/simple",
        f"numpy @ https://example.org/numpy.whl --hash=sha256:{ONE}",
        f"nu\u202empy==2 --hash=sha256:{ONE}",
        f"{'a-' * 50_000}==2 --hash=sha256:{ONE}",
        f"numpy==2{' ' * 100_000}x",
    ],
)
def test_any_other_line_means_that_the_wheels_are_not_known(line: str) -> None:
    assert parse_requirements(f"numpy==2.4.6 --hash=sha256:{ONE}\n{line}\n".encode()) is None


@pytest.mark.hostile
def test_bytes_that_are_no_text_mean_that_the_wheels_are_not_known() -> None:
    assert parse_requirements(b"numpy==2 \xff") is None


@pytest.mark.parametrize(
    ("file", "name", "version"),
    [
        ("numpy-2.4.6-cp313-cp313-manylinux_2_27_x86_64.whl", "numpy", "2.4.6"),
        ("Some_Models-0.1.0-py3-none-any.whl", "some-models", "0.1.0"),
        ("a-1-2-py3-none-any.whl", "a", "1"),
    ],
)
def test_a_wheel_is_known_by_its_name(file: str, name: str, version: str) -> None:
    assert wheel_of(file, ONE) == Wheel(name=name, version=version, sha256=ONE)


@pytest.mark.parametrize("file", ["x.whl", "a-1.whl", "a-1-py3.tar.gz", "-1-py3-none-any.whl"])
def test_another_file_is_not_a_wheel(file: str) -> None:
    assert wheel_of(file, ONE) is None


def test_the_same_wheel_on_two_platforms_is_one_and_another_file_is_another() -> None:
    other = Wheel(name="numpy", version="2.4.6", sha256=TWO)
    pure = Wheel(name="pure", version="1", sha256=ONE)
    found = merged({"linux/arm64": [other, pure], "linux/amd64": [NUMPY, pure, pure]})
    assert [(wheel.name, wheel.sha256, wheel.platforms) for wheel in found] == sorted(
        [
            ("numpy", ONE, ("linux/amd64",)),
            ("numpy", TWO, ("linux/arm64",)),
            ("pure", ONE, ("linux/amd64", "linux/arm64")),
        ],
        key=lambda one: (one[0], str(one[1])),
    )
