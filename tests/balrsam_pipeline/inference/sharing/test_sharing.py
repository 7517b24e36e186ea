"""A shared model predicts the same where it is installed; a hostile or damaged zip is refused and writes
nothing."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import stat
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from balrsam_pipeline.cli import main
from balrsam_pipeline.errors import BalrsamError, PredictionError
from balrsam_pipeline.folds import FoldName
from balrsam_pipeline.imageio import read_label
from balrsam_pipeline.inference import Postprocessing, PredictorOptions, load_predictor
from balrsam_pipeline.inference.best_configuration import BestConfiguration, read_best, write_best
from balrsam_pipeline.inference.sharing.card import model_card
from balrsam_pipeline.inference.sharing.install import install_model
from balrsam_pipeline.inference.sharing.onnx_export import surroundings
from balrsam_pipeline.inference.sharing.pack import ExportRequest, export_model
from balrsam_pipeline.plan import write_versioned

Folders = Callable[..., Path]


@pytest.fixture
def shared(model_folder: Folders, tmp_path: Path) -> Path:
    """A model's zip."""
    folder = model_folder(folds=(0,))
    (folder / "crossval").mkdir()
    summary = {
        "foreground_mean": {"Dice": 0.87, "HD95": 1.5},
        "mean": {"1": {"Dice": 0.9, "HD95": None}},
        "metric_per_case": [{"case": "secret"}],
    }
    (folder / "crossval" / "summary.json").write_text(json.dumps(summary))
    export_model(ExportRequest(folders=(folder,), output=tmp_path / "shared.zip"))
    return tmp_path / "shared.zip"


def test_an_installed_model_predicts_the_same(shared: Path, image_folder: Folders, tmp_path: Path) -> None:
    installed = install_model(shared, tmp_path / "elsewhere")
    assert [path.name for path in installed] == ["2d__balrsam"]
    images = image_folder(1)
    for name, model in (
        ("here", tmp_path / "results" / "Dataset900_Test" / "2d__balrsam"),
        ("there", installed[0]),
    ):
        assert (
            main(
                [
                    "predict",
                    "-i",
                    str(images),
                    "-o",
                    str(tmp_path / name),
                    "--model",
                    str(model),
                    "--device",
                    "cpu",
                ]
            )
            == 0
        )
    here, there = (read_label(tmp_path / name / "case0.nii.gz").data for name in ("here", "there"))
    np.testing.assert_array_equal(here, there)


def test_the_card_shows_the_numbers_and_case_names_stay_at_home(shared: Path) -> None:
    with zipfile.ZipFile(shared) as archive:
        card = archive.read("README.md").decode()
        everything = b"".join(
            archive.read(name) for name in archive.namelist() if name.endswith((".json", ".md"))
        )
    assert "| mean of foreground | 0.8700 | 1.5000 |" in card
    assert "l1, l2" in card
    assert "| l1 | 0.9000 | – |" in card
    assert "download_checkpoint" not in card  # trained from scratch
    assert b"secret" not in everything


def test_the_card_says_of_which_folds_its_scores_are(model_folder: Folders, tmp_path: Path) -> None:
    """Both folds are in the file, but a cross-validation of fold 0 alone came last. So it is when the model
    is shared once more from where it was installed, where no cases are named."""
    folder = model_folder(folds=(0, 1))
    summary = {
        "foreground_mean": {"Dice": 0.87},
        "mean": {},
        "metric_per_case": [{"case": "secret"}],
        "balrsam": {"groups": {"secret": "fold 0"}},
    }
    (folder / "crossval").mkdir()
    (folder / "crossval" / "summary.json").write_text(json.dumps(summary))
    for number, results in enumerate((folder.parent, tmp_path / "there" / "Dataset900_Test")):
        archive = tmp_path / f"{number}.zip"
        export_model(ExportRequest(folders=(results / "2d__balrsam",), output=archive))
        with zipfile.ZipFile(archive) as content:
            card = content.read("README.md").decode()
            assert b"secret" not in content.read("Dataset900_Test/2d__balrsam/crossval/summary.json")
        assert "- folds 0, 1\n" in card and "Scores are of the validation of fold 0:" in card
        install_model(archive, tmp_path / "there", overwrite=True)


def test_the_card_of_an_ensemble_says_how_to_predict_with_all_of_it(
    model_folder: Folders, tmp_path: Path
) -> None:
    first = model_folder(folds=(0,))
    second = first.with_name("2d__wide__balrsam")
    shutil.copytree(first, second)
    assert "-d Dataset900_Test --configuration 2d 2d__wide\n" in model_card(
        "Dataset900_Test", (first, second), None
    )
    assert "-d Dataset900_Test --best\n" in model_card(
        "Dataset900_Test", (first, second), None, with_choice=True
    )


def test_the_card_names_the_checkpoint_that_is_adapted(model_folder: Folders, fakes: SimpleNamespace) -> None:
    folder = model_folder(folds=(0,))
    plan = fakes.make_plan()
    network = replace(
        plan.configurations["2d"].network, from_scratch=False, backbone="vit_b", checkpoint="medsam"
    )
    configuration = replace(plan.configurations["2d"], network=network)
    write_versioned(folder / "plan.json", replace(plan, configurations={"2d": configuration}))
    assert "`balrsam download_checkpoint medsam`" in model_card("Dataset900_Test", (folder,), (0,))


@pytest.mark.parametrize("words", [("--checkpoint", "best"), ("--weights", "1"), ("--base", "b.pth")])
def test_options_that_say_how_to_predict_are_none_of_sharing(
    model_folder: Folders, tmp_path: Path, words: tuple[str, str]
) -> None:
    model = str(model_folder(folds=(0,)))
    with pytest.raises(SystemExit) as refused:
        main(["export_model", "--model", model, "-o", str(tmp_path / "m.zip"), *words])
    assert refused.value.code == 2


def test_a_file_that_is_there_is_not_replaced_unasked_and_a_missing_fingerprint_is_said(
    model_folder: Folders,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    words = ["export_model", "--model", str(model_folder(folds=(0,))), "-o", str(tmp_path / "m.zip")]
    assert main(words) == 0
    assert "without the fingerprint" in caplog.text and "--preprocessed" in caplog.text
    before = (tmp_path / "m.zip").read_bytes()
    assert main(words) == 0  # the same again is done already
    assert (tmp_path / "m.zip").read_bytes() == before
    (tmp_path / "m.zip").write_bytes(b"other")
    assert main(words) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "m.zip").read_bytes() == b"other"
    assert main([*words, "--overwrite", "--no-fingerprint"]) == 0
    assert (tmp_path / "m.zip").read_bytes() == before


def test_exporting_twice_gives_the_same_bytes(shared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "results" / "Dataset900_Test" / "2d__balrsam"
    export_model(ExportRequest(folders=(folder,), output=tmp_path / "again.zip"))
    assert (tmp_path / "again.zip").read_bytes() == shared.read_bytes()


def test_a_model_that_is_there_is_not_replaced_unasked(shared: Path, tmp_path: Path) -> None:
    (folder,) = install_model(shared, tmp_path / "elsewhere")
    assert install_model(shared, tmp_path / "elsewhere") == [folder]  # the same again is done already
    (folder / "notes.json").write_text("{}")
    with pytest.raises(PredictionError, match="already"):
        install_model(shared, tmp_path / "elsewhere")
    assert (folder / "notes.json").is_file()
    assert install_model(shared, tmp_path / "elsewhere", overwrite=True)


@pytest.mark.parametrize("linked", [False, True])
def test_an_archive_inside_the_model_that_it_would_replace_stays(
    shared: Path, tmp_path: Path, linked: bool
) -> None:
    results = tmp_path / "elsewhere"
    (folder,) = install_model(shared, results)
    inside = folder / "shared.zip"
    inside.write_bytes(shared.read_bytes())
    given = tmp_path / "link.zip"
    given.symlink_to(inside)
    before = tree(results)
    with pytest.raises(PredictionError, match="move it out"):
        install_model(given if linked else inside, results, overwrite=True)
    assert tree(results) == before


@pytest.mark.parametrize("fold", [0, "all"])
def test_a_shared_choice_names_the_folds_that_are_in_the_file(
    model_folder: Folders, image_folder: Folders, tmp_path: Path, fold: FoldName
) -> None:
    folder = model_folder(folds=(0, 1, "all"))
    best = BestConfiguration(
        dataset="Dataset900_Test",
        configurations=("2d",),
        folds=(0, 1),
        postprocessing=Postprocessing(),
        reason="",
        candidates=(),
    )
    write_best(folder.parent, best)
    words = ["-d", "900", "--best", "--results", str(tmp_path / "results")]
    packed, there = tmp_path / "m.zip", tmp_path / "elsewhere"
    assert main(["export_model", *words, "--folds", str(fold), "-o", str(packed)]) == 0
    install_model(packed, there)
    assert read_best(there / "Dataset900_Test").folds == (fold,)
    assert read_best(folder.parent) == best
    predict = ["predict", "-i", str(image_folder(1)), "-o", str(tmp_path / "out"), "--device", "cpu"]
    assert main([*predict, *words[:3], "--results", str(there)]) == 0


def rebuild(
    shared: Path, target: Path, change: Callable[[dict[str, bytes], dict[str, object]], None], mode: int = 0
) -> Path:
    """The same zip with `change(members, manifest)` applied; hashes of changed members are not fixed."""
    with zipfile.ZipFile(shared) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members.pop("manifest.json"))
    change(members, manifest)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", json.dumps(manifest))
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED if name == "bomb.json" else zipfile.ZIP_STORED
            info.external_attr = (mode if name.endswith("plan.json") else 0) << 16
            archive.writestr(info, content)
    return target


def listed(manifest: dict[str, object], name: str, content: bytes) -> None:
    files = manifest["files"]
    assert isinstance(files, dict)
    files[name] = {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}


@pytest.mark.parametrize(
    "name",
    [
        "../outside.json",
        "/tmp/outside.json",
        "a/../../outside.json",
        "C:/outside.json",
        "..\\outside.json",
        "run.py",
        "a/.hidden.json",
    ],
)
def test_names_that_lead_elsewhere_are_refused(shared: Path, tmp_path: Path, name: str) -> None:
    def add(members: dict[str, bytes], manifest: dict[str, object]) -> None:
        members[name] = b"{}"
        listed(manifest, name, b"{}")

    with pytest.raises(PredictionError, match="a member named"):
        install_model(rebuild(shared, tmp_path / "bad.zip", add), tmp_path / "elsewhere")
    assert not list((tmp_path / "elsewhere").iterdir())
    assert not (tmp_path / "outside.json").exists()


def test_links_are_refused(shared: Path, tmp_path: Path) -> None:
    bad = rebuild(shared, tmp_path / "bad.zip", lambda members, manifest: None, mode=stat.S_IFLNK | 0o777)
    with pytest.raises(PredictionError, match="link"):
        install_model(bad, tmp_path / "elsewhere")


def test_a_changed_file_is_refused(shared: Path, tmp_path: Path) -> None:
    def change(members: dict[str, bytes], manifest: dict[str, object]) -> None:
        name = "Dataset900_Test/2d__balrsam/fold_0/checkpoint_final.safetensors"
        members[name] = members[name][:-1] + bytes([members[name][-1] ^ 1])

    with pytest.raises(PredictionError, match="hash"):
        install_model(rebuild(shared, tmp_path / "bad.zip", change), tmp_path / "elsewhere")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_bomb_is_refused_before_it_is_unpacked(shared: Path, tmp_path: Path) -> None:
    bomb = bytes(50 * 2**20)

    def declared(members: dict[str, bytes], manifest: dict[str, object]) -> None:
        members["bomb.json"] = bomb
        listed(manifest, "bomb.json", bomb)

    with pytest.raises(PredictionError, match="to unpack, more than"):
        install_model(
            rebuild(shared, tmp_path / "bad.zip", declared), tmp_path / "elsewhere", limit_bytes=40 * 2**20
        )

    def understated(members: dict[str, bytes], manifest: dict[str, object]) -> None:
        members["bomb.json"] = bomb
        listed(manifest, "bomb.json", b"{}")

    with pytest.raises(PredictionError, match="larger than the manifest says"):
        install_model(rebuild(shared, tmp_path / "bad2.zip", understated), tmp_path / "elsewhere")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_files_that_the_manifest_does_not_list_are_refused(shared: Path, tmp_path: Path) -> None:
    bad = rebuild(
        shared, tmp_path / "bad.zip", lambda members, manifest: members.update({"more.json": b"{}"})
    )
    with pytest.raises(PredictionError, match="other than those"):
        install_model(bad, tmp_path / "elsewhere")


@pytest.mark.parametrize("dataset", ["..", "../up", "/abs", "a/b", ".hidden"])
def test_a_dataset_name_that_leads_elsewhere_is_refused(shared: Path, tmp_path: Path, dataset: str) -> None:
    bad = rebuild(
        shared, tmp_path / "bad.zip", lambda members, manifest: manifest.update({"dataset": dataset})
    )
    with pytest.raises(PredictionError, match="model or dataset named"):
        install_model(bad, tmp_path / "elsewhere")


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_bytes(b"hello")
    with pytest.raises(PredictionError, match="unpacked"):
        install_model(tmp_path / "text.zip", tmp_path / "elsewhere")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with pytest.raises(PredictionError, match=r"without manifest\.json"):
        install_model(tmp_path / "empty.zip", tmp_path / "elsewhere")


@pytest.mark.skipif(os.name == "nt", reason="needs limits of POSIX")
def test_a_disk_that_takes_no_more_is_not_told_as_a_damaged_archive(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import resource

    words = ["install_model", str(shared), "--results", str(tmp_path / "elsewhere")]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        assert main(words) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    told = capsys.readouterr().err
    assert "File too large" in told and "get the file again" not in told
    assert main(words) == 0


def test_an_archive_that_is_not_there_is_told_as_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, said in (("none.zip", "no such file"), (".", "a folder")):
        assert main(["install_model", str(tmp_path / name), "--results", str(tmp_path / "results")]) == 2
        assert said in capsys.readouterr().err
        assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_archive_of_any_compression_is_refused(tmp_path: Path, method: int) -> None:
    path = tmp_path / "m.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("manifest.json", json.dumps({str(number): number**3 for number in range(100)}))
    whole = bytearray(path.read_bytes())
    whole[60:200] = bytes(byte ^ 0xA5 for byte in whole[60:200])
    path.write_bytes(whole)
    with pytest.raises(PredictionError, match="cannot be unpacked"):
        install_model(path, tmp_path / "elsewhere")


def test_what_surrounds_an_onnx_says_how_volumes_are_turned_and_what_their_channels_are(
    model_folder: Folders,
) -> None:
    model = model_folder(folds=(0,))
    plan = model / "plan.json"
    plan.write_text(json.dumps(json.loads(plan.read_text()) | {"orientations": ["RAS", "LPS"]}))
    told = surroundings(load_predictor(model, options=PredictorOptions(device="cpu")), (1, 1, 16, 16))
    assert told["orientations"] == ["RAS", "LPS"]
    assert told["channel_names"] == ["MR"]


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime") is None, reason="needs onnx, onnxscript and onnxruntime"
)
def test_onnx_computes_what_pytorch_computes(
    model_folder: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = model_folder(folds=(0,))
    assert main(["export_onnx", "--model", str(model), "-o", str(tmp_path / "m.onnx")]) == 0
    said = capsys.readouterr()
    assert "largest difference" in said.out
    assert len(said.out.splitlines()) == 2 and said.err == ""  # the exporter's own lines are hundreds
    assert json.loads((tmp_path / "m.onnx.json").read_text())["input"]["shape"] == [1, 1, 16, 16]


@pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is not None, reason="onnxruntime is installed")
def test_without_onnx_the_message_says_what_to_install(
    model_folder: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["export_onnx", "--model", str(model_folder(folds=(0,))), "-o", str(tmp_path / "m.onnx")]) == 2
    )
    assert "pip install onnx" in capsys.readouterr().err


def sound(shared: Path, target: Path, manifest: dict[str, object], files: dict[str, bytes]) -> Path:
    """The same zip with other manifest entries and further files, all hashes fitting."""

    def change(members: dict[str, bytes], described: dict[str, object]) -> None:
        members.update(files)
        listed = {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
            for name, content in members.items()
        }
        described.update({"files": listed, **manifest})

    return rebuild(shared, target, change)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files_of_ones_own_models_stay_when_somebodys_model_is_installed_beside_them(
    shared: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "elsewhere" / "Dataset900_Test"
    (mine / "triplanar__balrsam").mkdir(parents=True)
    for name in ("best_configuration.json", "MODEL_CARD.md", "fingerprint.json", "triplanar__balrsam/notes"):
        (mine / name).write_text("mine")
    theirs = {f"Dataset900_Test/{name}": b"{}" for name in ("best_configuration.json", "fingerprint.json")}
    before = tree(mine)
    install_model(sound(shared, tmp_path / "theirs.zip", {}, theirs), tmp_path / "elsewhere")
    assert {name: tree(mine)[name] for name in before} == before


@pytest.mark.parametrize("fault", ["twice", "damaged", "no plan"])
def test_a_refused_archive_leaves_the_model_that_it_was_to_replace(
    shared: Path, tmp_path: Path, fault: str
) -> None:
    results = tmp_path / "elsewhere"
    install_model(shared, results)
    before = tree(results)
    path = f"Dataset900_Test/2d__balrsam/{'plan.json' if fault == 'no plan' else 'dataset.json'}"
    if fault == "twice":
        bad = sound(shared, tmp_path / "bad.zip", {"models": ["2d__balrsam", "2d__balrsam"]}, {})
    elif fault == "no plan":
        bad = sound(shared, tmp_path / "bad.zip", {}, {path: b"{}"})
    else:
        bad = rebuild(shared, tmp_path / "bad.zip", lambda members, _: members.update({path: b"{}"}))
    with pytest.raises(BalrsamError):
        install_model(bad, results, overwrite=True)
    assert tree(results) == before


@pytest.mark.parametrize("name", ["predictions", "crossval", "2d__balrsam"])
def test_nothing_but_a_model_is_ever_replaced(shared: Path, tmp_path: Path, name: str) -> None:
    results = tmp_path / "elsewhere"
    predictions = results / "Dataset900_Test" / name
    predictions.mkdir(parents=True)
    (predictions / "patient_1.nii.gz").write_bytes(b"a mask")
    with zipfile.ZipFile(shared) as archive:
        files = {
            item.replace("2d__balrsam", name): archive.read(item)
            for item in archive.namelist()
            if "2d__balrsam" in item
        }
    odd = sound(shared, tmp_path / "odd.zip", {"models": [name]}, files)
    with pytest.raises(PredictionError, match=name):
        install_model(odd, results, overwrite=True)
    assert tree(results) == {f"Dataset900_Test/{name}/patient_1.nii.gz": b"a mask"}


def test_models_that_are_links_are_packed_under_their_own_names(
    model_folder: Folders, tmp_path: Path
) -> None:
    first = model_folder()
    folders = tuple(tmp_path / "linked" / name for name in ("2d__balrsam", "2d__wide__balrsam"))
    (tmp_path / "linked").mkdir()
    for folder in folders:
        folder.symlink_to(first)
    manifest = export_model(ExportRequest(folders=folders, output=tmp_path / "both.zip"))
    assert manifest.models == ("2d__balrsam", "2d__wide__balrsam")
    plans = [name.split("/")[1] for name in manifest.files if name.endswith("plan.json")]
    assert sorted(plans) == ["2d__balrsam", "2d__wide__balrsam"]
