"""The HTML report: nothing from data becomes markup, nothing is fetched, and a browser can be used on it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from balrsam_pipeline.dataset.labels import LabelScheme
from evaluation import EvaluationOptions, Summary, evaluate_folders, pool
from evaluation.comparison import compare
from evaluation.reports.html import further_cases, pictures, report
from evaluation.reports.html.charts import box_plots
from evaluation.reports.html.comparison_page import comparison_page
from evaluation.reports.html.report import write_html
from evaluation.reports.strata import Strata
from evaluation.summary import case_means

Make = Callable[..., LabelScheme]
EVIL = "<img src=x onerror=alert(1)>'\"&"


@pytest.fixture
def summary(folder_pair: tuple[Path, Path], make_scheme: Make) -> Summary:
    options = EvaluationOptions(metrics=("overlap", "surface", "nsd", "detection"))
    return evaluate_folders(*folder_pair, make_scheme({"organ": 1, EVIL: 2}), ".nii.gz", options)


def data_of(page: str, identifier: str) -> Any:
    found = re.search(f"id='{identifier}'>(.*?)</script>", page, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_names_cannot_become_markup(summary: Summary, tmp_path: Path) -> None:
    write_html(
        summary,
        tmp_path / "report.html",
        f"title {EVIL}",
        Strata(name=EVIL, groups=dict.fromkeys(summary.cases, EVIL)),
    )
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<img" not in page
    assert data_of(page, "report-data")["labels"] == ["organ", EVIL]


def test_the_page_needs_nothing_else(summary: Summary, tmp_path: Path) -> None:
    write_html(summary, tmp_path / "report.html", "title")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert not re.search(r"<[^>]*\b(?:src|href)\s*=|@import|url\(|<link|<iframe", page.split("<script")[0])


def test_the_parts_follow_from_what_was_evaluated(summary: Summary, tmp_path: Path) -> None:
    write_html(summary, tmp_path / "one.html", "title")
    write_html(
        pool([summary]),
        tmp_path / "two.html",
        "title",
        Strata(name="site", groups=dict.fromkeys(summary.cases, "Basel")),
    )
    one, two = ((tmp_path / name).read_text(encoding="utf-8") for name in ("one.html", "two.html"))
    for identifier in ("labels", "means", "worst", "cases", "lesions", "method"):
        assert f"<section id='{identifier}'>" in one
    assert "id='folds'" not in one and "id='strata'" not in one
    assert "id='folds'" in two and "By site" in two and "Basel" in two


def test_pictures_show_the_worst_cases_first_with_both_label_maps(summary: Summary, tmp_path: Path) -> None:
    write_html(summary, tmp_path / "report.html", "title")
    shown = data_of((tmp_path / "report.html").read_text(encoding="utf-8"), "picture-data")
    dice = {
        case: np.mean([row.values["dice"] or 0.0 for row in summary.rows if row.case == case])
        for case in summary.cases
    }
    assert [picture["case"] for picture in shown] == sorted(dice, key=lambda case: dice[case])
    assert shown[0]["marks"] == ["R", "L", "A", "P"] and len(shown[0]["slices"]) > 5


def test_there_are_pictures_of_as_many_cases_as_fit_the_page(
    summary: Summary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "MOST_CHIPS", 1)
    write_html(summary, tmp_path / "report.html", "title")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    every = data_of(page, "picture-data")
    assert {picture["case"] for picture in every} == set(summary.cases) and page.count("data-picture='") == 1
    monkeypatch.setattr(pictures, "MOST_BYTES", len(every[0]["labels"]) + len(every[1]["labels"]))
    write_html(summary, tmp_path / "report.html", "title")
    assert data_of((tmp_path / "report.html").read_text(encoding="utf-8"), "picture-data") == every[:2]


def test_a_report_is_made_where_the_files_have_gone(summary: Summary, tmp_path: Path) -> None:
    for files in summary.files.values():
        Path(files.reference).unlink()
    write_html(summary, tmp_path / "report.html", "title")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert data_of(page, "picture-data") == [] and "id='worst'" not in page


def picture(browser: Any, name: str) -> str:
    """One of the three pictures, as data."""
    return str(
        browser.execute_script("return document.getElementById(arguments[0]).toDataURL()", f"film-{name}")
    )


def wait_for(condition: Callable[[], bool]) -> None:
    import time

    for _ in range(100):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("what was waited for did not happen")


def test_the_page_can_be_used_in_a_browser(summary: Summary, tmp_path: Path, browser: Any) -> None:
    write_html(pool([summary]), tmp_path / "report.html", "title")
    browser.get((tmp_path / "report.html").as_uri())

    def find(selector: str) -> Any:
        return browser.find_elements("css selector", selector)

    def column(number: int) -> list[str]:
        return [
            row.find_elements("css selector", "th, td")[number].text for row in find("#case-table tbody tr")
        ]

    dice = 2  # after the case and its part of the cross-validation
    assert len(column(0)) == 4
    assert column(dice) == sorted(column(dice)), "worst first"
    find("#case-table thead button")[dice].click()
    assert column(dice) == sorted(column(dice), reverse=True), "sorted by a click on the column's title"
    find("#filter-text")[0].send_keys("case_2")
    assert column(0) == ["case_2"]
    find("#filter-text")[0].clear()
    find("#filter-text")[0].send_keys("case")
    find("#filter-status option[value=missed]")[0].click()
    assert column(0) == ["case_2"]
    find("#view-by option[value=label]")[0].click()
    assert column(2) != [] and find("#case-table .badge.missed")

    find("#case-table tbody tr")[0].click()
    detail = find("#case-detail")[0]
    assert detail.is_displayed() and "case_2" in detail.text and EVIL in detail.text
    assert find("[data-picture][aria-pressed=true]")[0].text == "case_2"

    wait_for(lambda: "slice" in find("#slice-name")[0].text)
    before, name = picture(browser, "reference"), find("#slice-name")[0].text
    find("#slice")[0].send_keys("\ue010")  # the key End
    wait_for(lambda: find("#slice-name")[0].text != name)
    assert picture(browser, "reference") != before, "another slice, another picture"

    means = [row.find_elements("css selector", "th")[0].text for row in find("#means tbody tr")]
    find("#means thead button")[1].click()
    swapped = [row.find_elements("css selector", "th")[0].text for row in find("#means tbody tr")]
    assert swapped == [means[1], means[0], "mean over labels"], "the worst label first, the mean at the end"

    find("[data-chart=chart-1]")[0].click()
    assert [chart.is_displayed() for chart in find(".chart")][:2] == [False, True]
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == [], (
        "no error, and no refused request"
    )


def test_the_page_of_a_comparison_can_be_used_in_a_browser(
    summary: Summary, folder_pair: tuple[Path, Path], make_scheme: Make, tmp_path: Path, browser: Any
) -> None:
    options = EvaluationOptions(metrics=("overlap", "surface"))
    other = evaluate_folders(
        folder_pair[1], folder_pair[1], make_scheme({"organ": 1, EVIL: 2}), ".nii.gz", options
    )
    comparison = compare(summary, other, (EVIL, "perfect"))
    (tmp_path / "comparison.html").write_text(comparison_page(comparison, summary, other), encoding="utf-8")
    browser.get((tmp_path / "comparison.html").as_uri())

    def find(selector: str) -> Any:
        return browser.find_elements("css selector", selector)

    def column(number: int) -> list[str]:
        rows = [row for row in find("#cases table.static tbody tr") if row.is_displayed()]
        return [row.find_elements("css selector", "th, td")[number].text for row in rows]

    assert len(column(0)) == 4 and column(0) != sorted(column(0)), "those that differ most first"
    find("#cases thead button")[0].click()
    assert column(0) == ["case_0", "case_1", "case_2", "case_3"]
    find("#cases thead button")[1].click()
    assert column(1) == sorted(column(1))
    find("[data-filter=cases]")[0].send_keys("case_2")
    assert column(0) == ["case_2"] and find("#shown-count")[0].text == "1 of 4 cases"
    find("#cases tbody tr[data-case]:not([hidden])")[0].click()
    detail = find("#case-detail")[0]
    assert detail.is_displayed() and "case_2" in detail.text and EVIL in detail.text
    missed = [cell.text for cell in detail.find_elements("css selector", "tbody tr:nth-child(2) td")]
    assert missed[:3] == ["0.000", "1.000", "-1.000"], "the label that A misses in this case"
    find("[data-filter=cases]")[0].clear()
    find("[data-filter=cases]")[0].send_keys("case")
    find("select[data-filter=cases] option[value=A]")[0].click()
    assert column(0) == []
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.mark.parametrize("code", ["LPS", "RAS", "LAS", "RPI", "PIR", "SLA"])
def test_a_picture_is_the_same_whichever_way_the_file_is_stored(
    tmp_path: Path, make_scheme: Make, write_map: Callable[..., Path], code: str
) -> None:
    """SimpleITK's own reorientation is the oracle: the patient's right is on the left, anterior on top,
    inferior slices first."""
    rng = np.random.default_rng(0)
    label, other = (rng.integers(0, 3, (9, 11, 7)).astype(np.uint8) for _ in range(2))
    for folder, array in (
        ("labelsTr", label),
        ("predictions", other),
        ("imagesTr", label.astype(np.int16) * 100),
    ):
        for name, orientation in (("LPS", "LPS"), ("other", code)):
            path = write_map(
                tmp_path / name / folder / f"x{'_0000' if folder == 'imagesTr' else ''}.nii.gz",
                array,
                (1.0, 1.0, 3.0),
            )
            sitk.WriteImage(sitk.DICOMOrient(sitk.ReadImage(str(path)), orientation), str(path))
    found = []
    for name in ("LPS", "other"):
        summary = evaluate_folders(
            tmp_path / name / "predictions",
            tmp_path / name / "labelsTr",
            make_scheme({"a": 1, "b": 2}),
            ".nii.gz",
        )
        write_html(summary, tmp_path / f"{name}.html", "title")
        found.append(data_of((tmp_path / f"{name}.html").read_text(encoding="utf-8"), "picture-data"))
    assert found[0][0]["image"] is not None and found[0][0]["marks"] == ["R", "L", "A", "P"]
    assert found[0] == found[1]


@pytest.mark.parametrize("turned", ["predictions/x", "imagesTr/x_0000", "labelsTr/x"])
@pytest.mark.parametrize("code", ["RAI", "PLS", "SPL"])
def test_a_file_stored_in_another_orientation_is_drawn_where_its_header_lays_it(
    tmp_path: Path, make_scheme: Make, write_map: Callable[..., Path], turned: str, code: str
) -> None:
    """One file of three is; SimpleITK's own reorientation turns it."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, (9, 11, 7)).astype(np.uint8)
    write_map(tmp_path / "labelsTr/x.nii.gz", label, (1.0, 1.0, 3.0))
    write_map(tmp_path / "predictions/x.nii.gz", label // 2 * 2, (1.0, 1.0, 3.0))
    write_map(tmp_path / "imagesTr/x_0000.nii.gz", label.astype(np.int16) * 100, (1.0, 1.0, 3.0))
    found = []
    for name in ("upright", "turned"):
        if name == "turned":
            path = str(tmp_path / f"{turned}.nii.gz")
            sitk.WriteImage(sitk.DICOMOrient(sitk.ReadImage(path), code), path)
        summary = evaluate_folders(
            tmp_path / "predictions", tmp_path / "labelsTr", make_scheme({"a": 1, "b": 2}), ".nii.gz"
        )
        write_html(summary, tmp_path / f"{name}.html", "title")
        found.append(data_of((tmp_path / f"{name}.html").read_text(encoding="utf-8"), "picture-data"))
    assert found[0][0]["image"] is not None and found[0] == found[1]


def test_an_oversized_case_is_thinned_but_keeps_its_worst_slice(
    tmp_path: Path, make_scheme: Make, write_map: Callable[..., Path]
) -> None:
    reference = np.ones((90, 6, 800), dtype=np.uint8)
    prediction = reference.copy()
    prediction[37] = 0
    write_map(tmp_path / "a" / "x.nii.gz", prediction)
    write_map(tmp_path / "b" / "x.nii.gz", reference)
    write_html(
        evaluate_folders(tmp_path / "a", tmp_path / "b", make_scheme({"a": 1}), ".nii.gz"),
        tmp_path / "r.html",
        "title",
    )
    (picture,) = data_of((tmp_path / "r.html").read_text(encoding="utf-8"), "picture-data")
    assert len(picture["slices"]) <= 24 and picture["slices"][picture["start"]] == 37
    assert picture["width"] <= 384 and picture["aspect"] == pytest.approx(800 / 6, rel=0.01)


def test_a_case_without_any_label_has_no_picture(
    tmp_path: Path, make_scheme: Make, write_map: Callable[..., Path]
) -> None:
    for folder in "ab":
        write_map(tmp_path / folder / "x.nii.gz", np.zeros((3, 4, 5), dtype=np.uint8))
    options = EvaluationOptions(protocol="brats")
    summary = evaluate_folders(tmp_path / "a", tmp_path / "b", make_scheme({"a": 1}), ".nii.gz", options)
    write_html(summary, tmp_path / "r.html", "title")
    assert data_of((tmp_path / "r.html").read_text(encoding="utf-8"), "picture-data") == []


def test_cases_beyond_the_page_are_in_files_beside_it(
    summary: Summary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(further_cases, "MOST_ROWS", 2)  # a case of two labels
    monkeypatch.setattr(further_cases, "ROWS_OF_A_PAGE", 2)
    write_html(summary, tmp_path / "report.html", "title")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    (here,) = data_of(page, "report-data")["cases"]
    means = case_means(summary, "dice")
    assert means[here] == min(means.values())
    addresses = re.findall(r"href='(report_cases/\d+\.html)'", page)
    assert len(addresses) == len(summary.cases) - 1 > 0
    texts = [(tmp_path / address).read_text(encoding="utf-8") for address in addresses]
    found = [case for text in texts for case in re.findall(r"<th scope='row'>([^<]*)</th>", text)]
    assert sorted({here, *found}) == sorted(summary.cases) and len(found) == 2 * len(addresses)
    assert all("<img" not in text and "href='../report.html'" in text for text in texts)
    monkeypatch.setattr(further_cases, "MOST_ROWS", 100)
    other = tmp_path / "report_cases" / "².html"
    other.write_text("somebody's")
    write_html(summary, tmp_path / "report.html", "title")
    assert list((tmp_path / "report_cases").iterdir()) == [other]
    other.unlink()
    write_html(summary, tmp_path / "report.html", "title")
    assert not (tmp_path / "report_cases").exists()


def test_a_report_can_name_files_that_are_no_utf8(summary: Summary, tmp_path: Path) -> None:
    odd = replace(summary, warnings=("caf\udce9 was not scored",))
    write_html(odd, tmp_path / "report.html", "title")
    assert "caf\\udce9 was not scored" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_dots_are_of_what_counts_in_the_mean(summary: Summary) -> None:
    """Under transunet that is the pooled HD95, in the report's cells and means as in its chart."""
    rows = tuple(
        replace(row, values=row.values | {"hd95": 3.25, "hd95_pooled": 2.25}) for row in summary.rows
    )
    for protocol, shown, other in (("default", "3.25", "2.25"), ("transunet", "2.25", "3.25")):
        options = replace(summary.options, protocol=protocol)
        drawing = box_plots(replace(summary, rows=rows, options=options), "hd95")
        assert f": {shown}" in drawing and f": {other}" not in drawing
