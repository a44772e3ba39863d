"""Small files as instruments write them, made here; and where real ones are, if this machine has them."""

import io
import os
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np

ANGLES = 20.0 + 0.02 * np.arange(1500)
COUNTS = np.round(50 + 1000 * np.exp(-(((ANGLES - 30.0) / 0.1) ** 2)) + 300 * np.exp(-(((ANGLES - 45.3) / 0.1) ** 2)))


def shared_data():
    """The folder of real files: CRYSTALSSL_DATA, else shared/data beside or above the checkout; None without it."""
    places = [Path(os.environ["CRYSTALSSL_DATA"])] if "CRYSTALSSL_DATA" in os.environ else []
    places += [parent / "shared/data" for parent in Path(__file__).resolve().parents]
    return next((place for place in places if (place / "instrument_files.tar.xz").is_file()), None)


def real_files():
    """Name and content of each real file; empty without them."""
    data = shared_data()
    if data is None:
        return {}
    found = {}
    with tarfile.open(data / "instrument_files.tar.xz") as archive:
        for member in archive:
            if member.isfile() and not member.name.endswith(".md"):
                found[Path(member.name).name] = archive.extractfile(member).read()
    for path in (data / "reported_cases/xrd").glob("*"):
        found[path.name] = path.read_bytes()
    return found


def rows(separator=" ", angles=ANGLES, counts=COUNTS, end="\n"):
    return "".join(f"{x:.4f}{separator}{y:g}{end}" for x, y in zip(angles, counts, strict=True))


def in_lines(values, width, form="{:8g}"):
    lines = (values[place : place + width] for place in range(0, len(values), width))
    return "".join("".join(form.format(value) for value in line) + "\n" for line in lines)


def scan_of_xrdml(
    angles=ANGLES, counts=COUNTS, time="<commonCountingTime>1</commonCountingTime>", axis="2Theta", extra=""
):
    numbers = " ".join(f"{value:g}" for value in counts)
    return (
        f'<scan><dataPoints><positions axis="{axis}"><startPosition>{angles[0]}</startPosition>'
        f"<endPosition>{angles[-1]}</endPosition></positions>{time}{extra}"
        f"<counts>{numbers}</counts></dataPoints></scan>"
    )


def xrdml(*scans, wavelength="<kAlpha1>1.540598</kAlpha1><kAlpha2>1.544426</kAlpha2>"):
    return (
        '<?xml version="1.0" encoding="UTF-8"?><xrdMeasurements xmlns="http://www.xrdml.com/XRDMeasurement/1.5">'
        f"<xrdMeasurement><usedWavelength>{wavelength}</usedWavelength>{''.join(scans)}"
        "</xrdMeasurement></xrdMeasurements>"
    )


def archive(**members):
    """A zip archive; two underscores stand for a slash."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name.replace("__", "/").replace("_DOT_", "."), content)
    return buffer.getvalue()


def brml(angles=ANGLES, counts=COUNTS, factor=1):
    data = "".join(f"<Datum>2,{factor},{x:.4f},{x / 2:.4f},{y:g}</Datum>" for x, y in zip(angles, counts, strict=True))
    views = (
        '<RawDataView Start="0" Length="1" LogicName="MeasuredTime"/>'
        '<RawDataView Start="1" Length="1" LogicName="AbsorptionFactor"/>'
        '<RawDataView Start="2" Length="2"><Varying><FieldDefinitions AxisId="TwoTheta"/>'
        '<FieldDefinitions AxisId="Theta"/></Varying></RawDataView>'
        '<RawDataView Start="4" Length="1"><Recording LogicName="ScanCounter"/></RawDataView>'
    )
    xml = (
        f'<RawData><DataRoutes><DataRoute RouteFlag="Measured">{data}<DataViews>{views}</DataViews></DataRoute>'
        '</DataRoutes><WaveLengthAlpha1 Value="1.5406"/><WaveLengthAlpha2 Value="1.54439"/>'
        '<WaveLengthRatio Value="0.5"/></RawData>'
    )
    return archive(Experiment0__RawData0_DOT_xml=xml)


def rasx(factor=1):
    conditions = (
        "<MeasurementConditions><ScanInformation><AxisName>TwoThetaTheta</AxisName></ScanInformation>"
        "<WavelengthKalpha1>1.540593</WavelengthKalpha1><WavelengthKalpha2>1.544414</WavelengthKalpha2>"
        "</MeasurementConditions>"
    )
    table = "\ufeff" + "".join(f"{x:.4f}\t{y / factor:.4f}\t{factor}\r\n" for x, y in zip(ANGLES, COUNTS, strict=True))
    return archive(Data0__Profile0_DOT_txt=table, Data0__MesurementConditions0_DOT_xml=conditions)


def ras():
    table = "".join(f"{x:.4f} {y:.4f} 1.0000\n" for x, y in zip(ANGLES, COUNTS, strict=True))
    return (
        '*RAS_DATA_START\n*RAS_HEADER_START\n*MEAS_SCAN_AXIS_X "2-Theta"\n*HW_XG_WAVE_LENGTH_ALPHA1 "1.540593"\n'
        '*HW_XG_WAVE_LENGTH_ALPHA2 "1.544414"\n*RAS_HEADER_END\n*RAS_INT_START\n'
        + table
        + "*RAS_INT_END\n*RAS_DATA_END\n"
    )


def udf():
    numbers = ",\n".join(", ".join(f"{value:7g}" for value in COUNTS[place : place + 8]) for place in range(0, 1500, 8))
    return (
        f"SampleIdent,Sample5 ,/\nLabdaAlpha1, 1.54060,/\nLabdaAlpha2, 1.54439,/\nRatioAlpha21, 0.50000,/\n"
        f"DataAngleRange, {ANGLES[0]:.4f}, {ANGLES[-1]:.4f},/\nScanStepSize, 0.020,/\nScanStepTime, 1.00,/\nRawScan\n"
        + numbers
        + "/\n"
    )


def uxd():
    return "_FILEVERSION=2\n_WL1=1.5406\n_WL2=1.54439\n_WLRATIO=0.5\n" + "".join(
        f"; range\n_DRIVE='COUPLED'\n_STEPTIME=1.0\n_STEPSIZE=0.02\n_START={ANGLES[place]:.4f}\n_COUNTS\n"
        + in_lines(COUNTS[place : place + 750], 8)
        for place in (0, 750)
    )


def gsas(kind):
    step = f"CONST {100 * ANGLES[0]:.1f} 2.0 0 0 {kind}"
    if kind == "STD":
        body = in_lines([*COUNTS, 0, 0], 10, "{:8.0f}")
    elif kind == "ESD":
        body = in_lines([value for count in COUNTS for value in (count, 9)], 10)
    else:
        body = "".join(f"{100 * x:.3f} {y:g} 7.0\n" for x, y in zip(ANGLES, COUNTS, strict=True))
    return f"quartz, a title\nBANK 1 1500 150 {step}\n{body}"


def bruker(version, angles=ANGLES, counts=COUNTS):
    """A RAW file of one scan."""
    start, step, number = float(angles[0]), 0.02, len(counts)
    floats = counts.astype("<f4").tobytes()

    def put(header, place, code, *values):
        struct.pack_into("<" + code, header, place, *values)

    if version == 1:
        header = bytearray(156)
        put(header, 0, "4sIff", b"RAW ", number, 1.0, step)
        put(header, 24, "f", start)
        put(header, 72, "ff", 1.5406, 1.54439)
        return bytes(header) + floats
    if version == 2:
        header = bytearray(256 + 48)
        put(header, 0, "4sH", b"RAW2", 1)
        put(header, 190, "fff", 1.5406, 1.54439, 0.5)
        put(header, 256, "HH", 48, number)
        put(header, 264, "fff", 1.0, step, start)
        return bytes(header) + floats
    if version == 3:
        header = bytearray(712 + 304)
        put(header, 0, "8sII", b"RAW1.01\0", 1, 1)
        put(header, 616, "ddddd", 1.5418, 1.5406, 1.54439, 1.39222, 0.5)
        put(header, 712, "IIdd", 304, number, start / 2, start)
        put(header, 712 + 176, "d", step)
        put(header, 712 + 192, "f", 1.0)
        put(header, 712 + 252, "II", 4, 0)
        return bytes(header) + floats
    header = bytearray(61 + 120 + 160)
    put(header, 0, "8s", b"RAW4.00\0")
    put(header, 61, "II", 30, 120)
    put(header, 61 + 72, "ddddd", 1.5418, 1.5406, 1.54439, 1.39222, 0.5)
    put(header, 181 + 32, "24s", b"Locked Coupled")
    put(header, 181 + 72, "ddIf", start, step, number, 1.0)
    put(header, 181 + 136, "II", 4, 0)
    return bytes(header) + floats


def rigaku():
    header = bytearray(0xC56)
    struct.pack_into("<2s", header, 0, b"FI")
    struct.pack_into("<dd", header, 0x4BC, 1.540593, 1.544414)
    struct.pack_into("<fff", header, 0xB92, ANGLES[0], ANGLES[-1], 0.02)
    struct.pack_into("<2s", header, 0xC42, b"DA")
    struct.pack_into("<I", header, 0xC52, len(ANGLES))
    return bytes(header) + COUNTS.astype("<f4").tobytes()


def own_files():
    """Name and content of a file of each format, all with the same angles and counts."""
    start_step_stop = f"{ANGLES[0]:8.3f}{0.02:8.3f}{ANGLES[-1]:8.3f} title\n" + in_lines(COUNTS, 8)
    texts = {
        "columns.xy": rows(),
        "errors.xye": "".join(f"{x:.4f} {y:g} {y**0.5:.3f}\n" for x, y in zip(ANGLES, COUNTS, strict=True)),
        "comma.csv": "2theta,counts\n" + rows(","),
        "decimal.txt": rows("\t").replace(".", ","),
        "labels.chi": f"title\n2-Theta Angle (Degrees)\nIntensity\n      {len(ANGLES)}\n" + rows(),
        "steps.dat": start_step_stop,
        "psi.dat": "title\nlambda=  1.49400, T=   0.000\n" + start_step_stop + in_lines(COUNTS, 8) + " Filelist='x'\n",
        "std.gsa": gsas("STD"),
        "esd.gss": gsas("ESD"),
        "fxye.fxye": gsas("FXYE"),
        "range.uxd": uxd(),
        "philips.udf": udf(),
        "rigaku.ras": ras(),
        "scan.xrdml": xrdml(scan_of_xrdml()),
    }
    return {name: text.encode() for name, text in texts.items()} | {
        "archive.brml": brml(),
        "archive.rasx": rasx(),
        "rigaku.raw": rigaku(),
        **{f"bruker{version}.raw": bruker(version) for version in (1, 2, 3, 4)},
    }
