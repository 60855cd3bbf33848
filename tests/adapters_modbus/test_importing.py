"""Files of other projects, and invented ones of their shape, turned into profiles that decode.

The real ones lie in `foreign`, each beside its licence and its origin.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from twingateway_modbus.importers.branches import CHOSEN, text_for
from twingateway_modbus.importers.sunspec import _UNITS
from typer.testing import CliRunner, Result

from twingateway.cli.main import app
from twingateway.validation.units import known_unit


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


FOREIGN = Path(__file__).parent / "foreign"

SUNSPEC: dict[str, Any] = {
    "id": 7001,
    "group": {
        "name": "invented",
        "label": "An invented model",
        "points": [
            {"name": "ID", "type": "uint16"},
            {"name": "L", "type": "uint16"},
            {"name": "A", "type": "uint16", "sf": "A_SF", "units": "A", "label": "Current"},
            {"name": "A_SF", "type": "sunssf"},
            {"name": "Wh", "type": "acc32", "units": "Wh"},
            {"name": "St", "type": "enum16", "symbols": [{"name": "OFF", "value": 1}, {"name": "ON", "value": 4}]},
            {"name": "Evt", "type": "bitfield32", "symbols": [{"name": "DOOR", "value": 6}]},
            {"name": "Set", "type": "int16", "access": "RW", "sf": -1},
            {"name": "SN", "type": "string", "size": 4},
            {"name": "Addr", "type": "ipv6addr"},
        ],
        "groups": [{"name": "module", "count": 0, "points": [{"name": "V", "type": "float32"}]}],
    },
}
EDGEX = """\
name: pump
deviceResources:
- name: flow
  attributes: {primaryTable: INPUT_REGISTERS, startingAddress: 3, rawType: Int16}
  properties: {valueType: Float32, readWrite: R, scale: 0.1, units: m3/h}
- name: speed
  attributes: {primaryTable: HOLDING_REGISTERS, startingAddress: "8", isWordSwap: true}
  properties: {valueType: Uint32, readWrite: RW, minimum: "0", maximum: "100000"}
- name: run
  attributes: {primaryTable: COILS, startingAddress: 0}
  properties: {valueType: Bool, readWrite: RW}
- name: odd
  attributes: {primaryTable: HOLDING_REGISTERS, startingAddress: 1}
  properties: {valueType: Int8Array, readWrite: R}
"""
TEMPLATE = """\
template: invented-meter
products: [{brand: Invented, description: {generic: M1}}]
params: [{name: usage, choice: [grid]}]
render: |
  type: custom
  power:
    source: modbus
    {{- include "modbus" . | indent 2 }}
    register:
      address: 52
      type: input
      decode: float32s
    scale: -1
  energy:
    source: http
    uri: http://{{ .host }}/
  currents:
    - source: modbus
      register: {address: 6, type: holding, decode: int16nan}
"""


def imported(path: Path, content: str, *options: object) -> tuple[Result, Path]:
    path.write_text(content)
    target = path.with_name("imported.yaml")
    return run("modbus", "import", path, "-o", target, *options), target


def check(target: Path, registers: str, expect: str) -> None:
    """The imported profile is valid and decodes."""
    valid = run("validate", target)
    assert valid.exit_code == 0, valid.output
    vector = f"  tests:\n  - registers: {registers}\n    expect: {expect}\n"
    profile, _, model = target.read_text().partition("---")
    target.write_text(profile + vector + "---" + model)
    tested = run("adapter", "test", target)
    assert tested.output.endswith("1 of 1 passed\n"), tested.output


def test_a_sunspec_model_becomes_a_profile(tmp_path: Path) -> None:
    result, target = imported(tmp_path / "model.json", json.dumps(SUNSPEC), "--repeat", 1)
    assert result.exit_code == 0, result.output
    assert result.output == ""
    wire = "1B59 0014 007B FFFF 0001 0000 0004 0000 0040 00D7 4142 4300 0000 0000"
    wire += " FE80 0000 0000 0000 0000 0000 0000 0001 4366 0000"
    expect = "{A: 12.3, Wh: 65536, St: 'ON', Evt: [DOOR], Set: 21.5, SN: ABC, Addr: 'fe80::1', module_1.V: 230.0}"
    check(target, f'{{holding: {{0: "{wire}"}}}}', expect)


def test_an_edgex_profile_becomes_a_profile(tmp_path: Path) -> None:
    result, target = imported(tmp_path / "pump.yaml", EDGEX)
    assert result.exit_code == 0, result.output
    assert "left out: odd: type int8array" in result.output
    registers = '{input: {3: "00EB"}, holding: {8: "0002 0001"}, coil: {0: "1"}}'
    check(target, registers, "{flow: 23.5, speed: 65538, run: true}")


def test_a_template_becomes_a_profile(tmp_path: Path) -> None:
    result, target = imported(tmp_path / "meter.yaml", TEMPLATE)
    assert result.exit_code == 0, result.output
    check(target, '{input: {52: "0000 4366"}, holding: {6: "8000"}}', "{power: -230.0, currents_1: null}")


#: As SunSpec's 700 series: groups in groups whose number a point says, scale factors of the outermost group.
CURVES: dict[str, Any] = {
    "id": 7005,
    "group": {
        "type": "group", "name": "InventedCurve", "label": "An invented curve", "desc": "Nothing real",
        "points": [
            {"name": "ID", "type": "uint16", "size": 1, "static": "S", "mandatory": "M", "value": 7005},
            {"name": "L", "type": "uint16", "size": 1, "static": "S", "mandatory": "M"},
            {"name": "Ena", "type": "enum16", "size": 1, "access": "RW", "mandatory": "M",
             "symbols": [{"name": "DISABLED", "value": 0, "label": "Off"}, {"name": "ENABLED", "value": 1}]},
            {"name": "NPt", "type": "uint16", "size": 1, "static": "S"},
            {"name": "NCrv", "type": "count", "size": 1, "static": "S"},
            {"name": "Tms", "type": "uint32", "size": 2, "access": "RW", "units": "Secs"},
            {"name": "Vnd", "type": "enum16", "size": 1},
            {"name": "EvtVnd", "type": "bitfield32", "size": 2},
            {"name": "Pad", "type": "pad", "size": 1},
            {"name": "V_SF", "type": "sunssf", "size": 1, "static": "S"},
        ],
        "groups": [{
            "type": "group", "name": "Crv", "count": "NCrv",
            "points": [{"name": "ActPt", "type": "uint16", "size": 1, "access": "RW"}],
            "groups": [{
                "type": "group", "name": "Pt", "count": "NPt",
                "points": [{"name": "V", "type": "uint16", "size": 1, "sf": "V_SF", "units": "Pct", "access": "RW"},
                           {"name": "Local", "type": "int16", "size": 1, "sf": "L_SF"},
                           {"name": "L_SF", "type": "sunssf", "size": 1}],
            }],
        }],
    },
}  # fmt: skip


def test_a_sunspec_model_of_groups_in_groups(tmp_path: Path) -> None:
    result, target = imported(tmp_path / "model.json", json.dumps(CURVES), "--repeat", 2)
    assert result.exit_code == 0, result.output
    head = "1B5D 0019 0001 0002 0002 0000 003C FFFF 0000 0005 8000 FFFF"
    point = "03E8 000C 0001"
    wire = " ".join([head, "0002", point, "03E9 8000 0001", "0001", point, "03EA FFFE 0001"])
    expect = (
        "{Ena: ENABLED, NPt: 2, Tms: 60, Vnd: null, EvtVnd: 5, Crv_1.ActPt: 2, Crv_1.Pt_1.V: 100.0,"
        " Crv_1.Pt_1.Local: 120, Crv_1.Pt_2.V: 100.1, Crv_1.Pt_2.Local: null, Crv_2.ActPt: 1,"
        " Crv_2.Pt_2.V: 100.2, Crv_2.Pt_2.Local: -20}"
    )
    check(target, f'{{holding: {{0: "{wire}"}}}}', expect)


def test_sunspecs_own_spellings_of_units_are_understood(tmp_path: Path) -> None:
    _, target = imported(tmp_path / "model.json", json.dumps(CURVES), "--repeat", 1)
    assert "unit: s" in target.read_text()
    assert "unit: '%'" in target.read_text()
    assert "is not known" not in run("validate", target).output
    assert {text for text in _UNITS.values() if not known_unit(text)} == set()


def test_a_sunspec_model_says_what_repeats_an_unknown_number_of_times(tmp_path: Path) -> None:
    result, _ = imported(tmp_path / "model.json", json.dumps(CURVES))
    assert "left out: Crv: repeats as often as the device says (--repeat)" in result.output


#: As EdgeX's own examples are laid out: comma lists, bits as decimals, names of contents in the commands.
HVAC = """\
name: "Invented-Profile"
manufacturer: "Nobody"
model: "None"
labels: ["HVAC"]
description: "an invented unit"
deviceResources:
-
  name: "Switch"
  isHidden: true
  description: "On/Off"
  attributes:
    { primaryTable: "COILS", startingAddress: 4 }
  properties:
    valueType: "Bool"
    readWrite: "RW"
    scale: 1
    minimum: 0
    maximum: 1
    defaultValue: "0"
-
  name: "Mode"
  attributes:
    { primaryTable: "HOLDING_REGISTERS", startingAddress: 1 }
  properties:
    valueType: "Int16"
    readWrite: "RW"
    scale: 1
    minimum: 0
    maximum: 9
-
  name: "BitTen"
  attributes:
    { primaryTable: "HOLDING_REGISTERS", startingAddress: 2.10 }
  properties: { valueType: "Bool", readWrite: "R" }
-
  name: "BitOne"
  attributes:
    { primaryTable: "HOLDING_REGISTERS", startingAddress: "2.1" }
  properties: { valueType: "Bool", readWrite: "R" }
-
  name: "Stage"
  attributes: { primaryTable: "HOLDING_REGISTERS", startingAddress: 3 }
  properties: { valueType: "Uint16", readWrite: "R", mask: 0x00F0, shift: -4 }
-
  name: "Scrambled"
  attributes: { primaryTable: "HOLDING_REGISTERS", startingAddress: 3 }
  properties: { valueType: "Uint16", readWrite: "R", mask: 0x00F1 }
-
  name: "Room"
  attributes:
    { primaryTable: "INPUT_REGISTERS", startingAddress: 3, rawType: "Int16", isByteSwap: true }
  properties: { valueType: "Float32", readWrite: "R", scale: 0.1, offset: -10, units: "Celsius" }
-
  name: "Label"
  attributes: { primaryTable: "HOLDING_REGISTERS", startingAddress: 15, stringRegisterSize: 3 }
  properties: { valueType: "String", readWrite: "RW" }
deviceCommands:
-
  name: "Values"
  readWrite: "RW"
  resourceOperations:
    - { deviceResource: "Switch", mappings: {"true":"ON","false":"OFF"} }
    - { deviceResource: "Mode", mappings: { "0":"Cool","1":"Heat","8":"VAM Auto"} }
-
  name: "More"
  readWrite: "RW"
  resourceOperations:
    - { deviceResource: "Mode", mappings: { "0":"Other"} }
    - { deviceResource: "Room" }
"""


def test_an_edgex_profile_with_bits_masks_and_names(tmp_path: Path) -> None:
    result, target = imported(tmp_path / "hvac.yaml", HVAC)
    assert result.exit_code == 0, result.output
    assert result.output == "left out: Scrambled: mask 241, shift None\n"
    registers = '{coil: {4: "1"}, holding: {1: "0008 0400 0A7B", 15: "4142 4300 0000"}, input: {3: "EB00"}}'
    expect = "{Switch: true, Mode: VAM Auto, BitTen: true, BitOne: false, Stage: 7, Room: 13.5, Label: ABC}"
    check(target, registers, expect)


#: As an evcc template for several uses: branches of `if`, sums, sequences of writes, values that directives choose.
HYBRID = """\
template: invented-hybrid
covers: ["invented-old"]
products:
  - brand: Invented
    description:
      generic: 3p hybrid
capabilities: ["battery-control"]
params:
  - name: usage
    choice: ["grid", "pv", "battery"]
    allinone: true
  - name: modbus
    choice: ["rs485", "tcpip"]
    baudrate: 9600
    id: 1
  - name: minsoc
    type: int
    default: 20
render: |
  type: custom
  {{- if eq .usage "grid" }}
  power:
    source: modbus
    {{- include "modbus" . | indent 2 }}
    register:
      address: 625 # a comment
      type: holding
      decode: int16
  {{- else if eq .usage "pv" }}
  power:
    source: calc
    add:
    - source: modbus
      {{- include "modbus" . | indent 4 }}
      register:
        address: 672
        type: holding
        decode: uint16nan
    - source: modbus
      {{- include "modbus" . | indent 4 }}
      register:
        address: 673
        type: holding
        decode: uint16
      scale: {{ if eq .usage "pv" }}-1{{ else }}1{{ end }}
  {{- else }}
  power:
    source: modbus
    {{- include "modbus" . | indent 2 }}
    register:
      address: 590
      type: holding
      decode: int32s
    scale: {{ .scale }}
  soc:
    source: modbus
    register:
      address: 588
      type: holding
      decode: uint16
  batterymode:
    source: switch
    switch:
    - case: 1 # normal
      set:
        source: sequence
        set:
        - source: const
          value: {{ .minsoc }}
          set:
            source: modbus
            {{- include "modbus" . | indent 10 }}
            register:
              address: 588
              type: writemultiple
              decode: uint16
    - case: 2 # hold
      set:
        source: const
        value: 1
        set:
          source: modbus
          register:
            address: 588
            type: writemultiple
            decode: uint16
  {{- end }}
  {{- if or (eq .usage "grid") (eq .usage "pv") (eq .usage "battery") }}
  energy:
    source: modbus
    register:
      address: 522
      type: input
      decode: ieee754s
  {{- end }}
  running:
    source: modbus
    register: {address: 40, type: holding, decode: bool16, bitmask: 0x0008}
  odd:
    source: modbus
    register: {address: 41, type: holding, decode: uint16, bitmask: 0x00f0}
  capacity: {{ .capacity }} # kWh
"""


def test_a_template_for_several_uses(tmp_path: Path) -> None:
    result, target = imported(tmp_path / "hybrid.yaml", HYBRID)
    assert result.exit_code == 0, result.output
    assert sorted(result.output.splitlines()) == [
        "left out: battery_power: its scale is not in the template",
        "left out: odd: holding uint16 with the bit mask 240",
    ]
    registers = (
        '{holding: {625: "FFFF", 672: "FFFF", 673: "0005", 588: "0032", 40: "0008"}, input: {522: "0000 4366"}}'
    )
    expect = "{grid_power: -1, pv_power_1: null, pv_power_2: -5, battery_soc: 50, energy: 230.0, running: true}"
    check(target, registers, expect)
    profile = target.read_text()
    assert profile.count("address: 588") == 1
    assert "write_with: multiple" in profile


@pytest.mark.parametrize(
    ("condition", "uses"),
    [
        ('eq .usage "grid"', ["grid"]),
        ('eq .usage "grid" "pv"', ["grid", "pv"]),
        ('ne .usage "grid"', ["pv", "battery"]),
        ('not (eq .usage "grid")', ["pv", "battery"]),
        ('or (eq .usage "pv") (eq .usage "battery")', ["pv", "battery"]),
        ('and (ne .usage "pv") (or (eq .usage "pv") (eq .usage "grid"))', ["grid"]),
        (".capacity", ["grid", "pv", "battery"]),
        ('and .capacity (eq .usage "pv")', ["pv"]),
    ],
)
def test_branches_are_chosen_by_their_use(condition: str, uses: list[str]) -> None:
    text = f"a\n{{{{- if {condition} }}}}\nb\n{{{{- else }}}}\nc\n{{{{- end }}}}\nd: {{{{ .x }}}}"
    chosen = {usage: text_for(usage, text).split("\n") for usage in ("grid", "pv", "battery")}
    assert {usage: lines[1] for usage, lines in chosen.items()} == {
        usage: "b" if usage in uses else "c" for usage in ("grid", "pv", "battery")
    }
    assert chosen["grid"][-1] == f"d: {CHOSEN}"


def test_blocks_nest_and_those_that_decide_nothing_are_passed() -> None:
    text = '{{ range .a }}\n{{ if eq .usage "x" }}\nno\n{{ if .y }}\nno\n{{ end }}\n{{ end }}\nyes\n{{ end }}'
    assert text_for("z", text) == "yes"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("[1, 2]", "holds no document"),
        ("{a: 1}", "say which with --as"),
        ("{deviceResources: [7]}", "not a proper edgex file"),
        ("{render: 'type: custom'}", "reads nothing over Modbus"),
        ("{group: {}}", "no group with points"),
    ],
)
def test_what_cannot_be_imported_says_why(tmp_path: Path, content: str, complaint: str) -> None:
    result, _ = imported(tmp_path / "file.yaml", content)
    assert result.exit_code != 0
    assert complaint in result.output


def foreign(name: str, tmp_path: Path, *options: object) -> tuple[Result, Path]:
    target = tmp_path / "imported.yaml"
    return run("modbus", "import", FOREIGN / name, "-o", target, *options), target


def words(*parts: int | str) -> str:
    """Registers; a text of `n` characters takes half as many."""
    return " ".join(part if isinstance(part, str) else f"{part & 0xFFFF:04X}" for part in parts)


def text(content: str, registers: int) -> str:
    return content.encode().ljust(2 * registers, b"\0").hex(" ", 2)


def test_every_foreign_file_lies_beside_its_licence_and_origin() -> None:
    for folder in FOREIGN.iterdir():
        assert (folder / "LICENSE").is_file(), folder
        assert (folder / "ORIGIN").is_file(), folder


def test_sunspecs_common_model(tmp_path: Path) -> None:
    result, target = foreign("sunspec/model_1.json", tmp_path)
    assert (result.exit_code, result.output) == (0, "")
    head = words(1, 66, text("Acme", 16), text("X-1", 16), text("fast", 8), text("1.2", 8), text("SN7", 16))
    registers = f'{{holding: {{0: "{head} 0005 8000"}}}}'
    check(target, registers, "{Mn: Acme, Md: X-1, Opt: fast, Vr: '1.2', SN: SN7, DA: 5}")


def test_sunspecs_three_phase_inverter_with_its_scale_factors(tmp_path: Path) -> None:
    result, target = foreign("sunspec/model_103.json", tmp_path)
    assert (result.exit_code, result.output) == (0, "")
    none, no = 0xFFFF, 0x8000
    wire = words(
        *(103, 50, 437, 145, 146, none, -1, 4001, 4002, 4003, 2310, 2311, none, -1),  # currents, voltages
        *(3021, 0, 5001, -2, 3030, 0, -120, 0, 995, -1),  # W, Hz, VA, VAr, PF
        *(1, 0, 0, none, no, 6400, -1, 3100, 0),  # WH, DCA, DCV, DCW
        *(412, no, no, no, -1, 4, none, 0, 0x21, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),  # temperatures, states, events
    )
    expect = (
        "{A: 43.7, AphA: 14.5, AphC: null, PPVphAB: 400.1, PhVphA: 231.0, PhVphC: null, W: 3021, Hz: 50.01,"
        " VAr: -120, PF: 99.5, WH: 65536, DCA: null, DCV: 640.0, TmpCab: 41.2, TmpSnk: null, St: MPPT, StVnd: null,"
        " Evt1: [GROUND_FAULT, CABINET_OPEN]}"
    )
    check(target, f'{{holding: {{0: "{wire}"}}}}', expect)


def test_sunspecs_repeated_groups_share_the_scale_factors_of_the_whole(tmp_path: Path) -> None:
    result, target = foreign("sunspec/model_714.json", tmp_path, "--repeat", 2)
    assert (result.exit_code, result.output) == (0, "")
    profile = target.read_text().partition("---")[0]
    assert "Prt_1.DCA:" in profile
    assert "Prt_2.DCA:" in profile
    assert run("validate", target).exit_code == 0


def test_what_no_request_can_read_is_left_out(tmp_path: Path) -> None:
    result, target = foreign("sunspec/model_64411.json", tmp_path)
    assert result.exit_code == 0
    assert "left out: VHarA: 150 registers; one request reads 125" in result.output
    assert run("validate", target).exit_code == 0


def test_edgexs_air_conditioner(tmp_path: Path) -> None:
    result, target = foreign("edgex/modbus.test.device.profile.yml", tmp_path)
    assert (result.exit_code, result.output) == (0, "")
    registers = '{coil: {0: "1", 14: "0"}, holding: {1: "0004 0000 0003", 5: "00E6", 10: "0400"}, input: {3: "00EB"}}'
    expect = (
        "{SwitchA: true, SwitchB: false, OperationMode: HAUX, FanSpeed: Auto, Temperature: 23.0,"
        " CommunicationFailure: true, RoomTemperature: 23.5}"
    )
    check(target, registers, expect)


def test_evccs_meter_with_a_branch_in_a_register(tmp_path: Path) -> None:
    result, target = foreign("evcc/acrel-adw300.yaml", tmp_path)
    assert (result.exit_code, result.output) == (0, "")
    wire = words(2301, 2302, 2303, 0, 0, 0, 501, 502, 503, 0, 0, 700, 0, 701, 0, 702, 0, 2103, *[0] * 24, 0, 99, 0, 7)
    expect = (
        "{voltages_1: 230.1, currents_3: 5.03, grid_power: 2103, pv_power: -2103, grid_import: 0.99, pv_import: 0.07}"
    )
    check(target, f'{{holding: {{20: "{wire}"}}}}', expect)


def test_evccs_battery_is_read_and_written(tmp_path: Path) -> None:
    result, target = foreign("evcc/alpha-ess-smile.yaml", tmp_path)
    assert (result.exit_code, result.output) == (0, "")
    profile, _, model = target.read_text().partition("---")
    assert "battery_soc: {table: holding, address: 258, type: uint16, scale: 0.1}" in profile
    written = [line for line in profile.splitlines() if "writable: true" in line]
    assert [line.split()[4] for line in written] == ["2127,", "2133,"], "once each, in however many places"
    assert model.count("access: read-write") == 2


def test_a_template_that_names_only_a_model_says_so(tmp_path: Path) -> None:
    result, _ = foreign("evcc/eastron-sdm120.yaml", tmp_path)
    assert result.exit_code == 1
    assert "names a device model, sdm, whose registers are not in it" in result.output
    result, target = foreign("evcc/eltako-modbus.yaml", tmp_path)
    assert result.exit_code == 0
    assert run("modbus", "plan", target).exit_code == 0
