"""What is unique about a car: surfaces that stand behind or on it, and things drawn over it at the end."""

import numpy as np

from rendered.attributes import CarRecord
from rendered.camera import Points
from rendered.canvas import dense, hull, mixed
from rendered.geometry import TWO_BOX, Car
from rendered.mesh import Surface, blob, box, tube
from rendered.paint import Paint, Rgb
from rendered.scene import Scene
from rendered.sides import door_lines
from rendered.wheels import arch_outline

CARBON = Paint(colour=(30, 31, 34), finish="matte")
BRIGHT = Paint(colour=(214, 218, 223), finish="solid")
BOX = Paint(colour=(58, 61, 66), finish="solid")


def element_surfaces(record: CarRecord, car: Car, main: Paint) -> list[Surface]:
    """Surfaces of the first layer: what the cabin may hide in part, and all that stands on the roof."""
    middle = (car.header + car.roof_end) / 2
    surfaces = _far_mirror(record, car, main)
    match record.attributes["element"]:
        case "roof_box":
            long = min(0.85, (car.header - car.roof_end) * 0.5 + 0.25)
            top = car.roof_height(middle)
            grid = blob((middle, 0.1, top + 0.15), (long, 0.44, 0.16), 3.6)
            surfaces.append(Surface(grid=grid, paint=BOX, nearer_m=0.35))
            for x in (middle - 0.5 * long, middle + 0.5 * long):
                bar = np.linspace([x, -0.6, top + 0.02], [x, 0.6, top + 0.02], 12)
                surfaces.append(Surface(grid=tube(bar, 0.025), paint=BRIGHT, nearer_m=0.3))
        case "roof_rails":
            surfaces += [Surface(grid=grid, paint=BRIGHT, nearer_m=0.3) for grid in _rails(car, -1.0)]
        case "rear_spoiler":
            surfaces += [Surface(grid=grid, paint=CARBON) for grid in _wing(car)]
        case "lidar_pod":
            x = car.header - 0.3
            top = car.roof_height(x)
            pod = blob((x, 0, top + 0.14), (0.26, 0.32, 0.2), 2.6)
            lens = blob((x, 0, top + 0.2), (0.27, 0.33, 0.045), 2.6)
            surfaces.append(Surface(grid=pod, paint=Paint(colour=(24, 25, 28), finish="solid"), nearer_m=0.35))
            surfaces.append(Surface(grid=lens, paint=Paint(colour=(86, 206, 240), finish="matte"), nearer_m=0.4))
        case "gullwing_doors":
            surfaces += [Surface(grid=_gullwing(car, side), paint=main) for side in (-1.0, 1.0)]
        case _:
            pass
    return surfaces


def _rails(car: Car, side: float) -> list[Points]:
    x = np.linspace(car.header - 0.1, car.roof_end + 0.1, 24)
    roof = car.house.at(x, 0.97, side)
    rail = roof + np.array([0.0, -0.02 * side, 0.1])
    rail[[0, -1], 2] -= 0.1
    grids = [tube(rail, 0.035)]
    for k in (2, 12, 21):
        grids.append(tube(np.linspace(roof[k], rail[k], 4), 0.03))
    return grids


def _wing(car: Car) -> list[Points]:
    """A big wing on two struts; above the roof's end where there is no deck."""
    half = car.half_width * 0.96
    if car.body_type in TWO_BOX:
        x, foot, z = car.roof_end + 0.02, car.height - 0.1, car.height + 0.13
    else:
        x, foot = car.rear + 0.24, float(car.belt(np.array(car.rear + 0.24)))
        z = max(foot + 0.4, min(car.height + 0.02, foot + 0.55))
    grids = [*box((x - 0.2, -half, z), (x + 0.16, half, z + 0.045))]
    for y in (half, -half):
        grids += box((x - 0.26, y - 0.02, z - 0.14), (x + 0.2, y + 0.02, z + 0.13))
    for y in (half * 0.55, -half * 0.55):
        grids += box((x - 0.05, y - 0.02, foot - 0.05), (x + 0.08, y + 0.02, z))
    return grids


def _gullwing(car: Car, side: float) -> Points:
    """A door panel that stands open, hinged in the roof: rows from hinge to sill."""
    lines = door_lines(car)
    x = np.linspace(lines[0] - 0.12, lines[1] + 0.06, 14)
    bend = np.array([[0.42, 0.0], [0.62, 0.18], [0.9, 0.42], [1.16, 0.56], [1.34, 0.52], [1.46, 0.4]])
    grid = np.zeros((len(bend), len(x), 3))
    grid[..., 0] = x
    grid[..., 1] = side * bend[:, :1]
    grid[..., 2] = car.height - 0.03 + bend[:, 1:]
    return grid


def _far_mirror(record: CarRecord, car: Car, main: Paint) -> list[Surface]:
    digital = record.attributes["element"] == "digital_mirrors"
    arm, head = mirror_grids(car, -1.0, digital=digital)
    return [
        Surface(grid=arm, paint=BRIGHT if digital else CARBON),
        Surface(grid=head, paint=CARBON if digital else main),
    ]


def mirror_grids(car: Car, side: float, *, digital: bool) -> tuple[Points, Points]:
    """Arm and head of a mirror; a camera's arm is long and thin and its head small."""
    x = car.cowl - (0.42 if car.body_type not in {"van", "minivan"} else 0.75)
    z = float(car.belt(np.array(x))) + 0.1
    y = float(car.house.half_width(np.array(x), np.array(0.1))) if not car.open_top else car.half_width * 0.88
    if digital:
        arm = np.linspace([x, side * (y - 0.03), z], [x - 0.16, side * (y + 0.34), z + 0.12], 8)
        return tube(arm, 0.034), blob((x - 0.21, side * (y + 0.35), z + 0.13), (0.12, 0.055, 0.05), 3.0)
    arm = np.linspace([x, side * (y - 0.03), z - 0.03], [x, side * (y + 0.1), z], 5)
    return tube(arm, 0.03), blob((x, side * (y + 0.17), z + 0.05), (0.085, 0.125, 0.095), 3.0)


def draw_elements(scene: Scene) -> None:
    """What stands before everything else on the near side: the mirror, and the element where it is there."""
    car = scene.car
    match scene.value("element"):
        case "roof_rails":
            for grid in _rails(car, 1.0):
                scene.canvas.line(scene.projection(grid[:, :-1].mean(axis=1)), (40, 41, 44), 3.8)
            for grid in _rails(car, 1.0):
                scene.canvas.line(scene.projection(grid[:, :-1].mean(axis=1)), BRIGHT.colour, 2.4)
        case "fender_skirts":
            _draw_skirt(scene)
        case "side_pipes":
            _draw_pipes(scene)
        case "snorkel":
            _draw_snorkel(scene)
        case "gullwing_doors":
            _draw_open_door(scene)
        case _:
            pass
    digital = scene.value("element") == "digital_mirrors"
    if scene.value("element") == "gullwing_doors":
        return
    arm, head = mirror_grids(car, 1.0, digital=digital)
    stalk = hull(scene.projection(arm.reshape(-1, 3)))
    scene.canvas.line(stalk, (20, 20, 22), 1.0, closed=True)
    scene.canvas.fill(stalk, BRIGHT.colour if digital else (20, 20, 22))
    scene.solid(head, (26, 27, 29) if digital else scene.main.colour)


def _draw_skirt(scene: Scene) -> None:
    """A panel in the car's colour over the upper half of the rear wheel."""
    car = scene.car
    arch = arch_outline(car, car.rear_axle, car.arch + 0.012)
    low = car.tyre - 0.02
    arch = arch[arch[:, 1] >= low]
    flat = scene.on_side(dense(arch))
    top, bottom = flat[:, 1].min(), flat[:, 1].max()
    colour = scene.main.colour
    stops = [(0, mixed(colour, (255, 255, 255), 0.06)), (1, mixed(colour, (0, 0, 0), 0.2))]
    scene.canvas.fill(flat, scene.canvas.gradient(np.array([0, top]), np.array([0, bottom]), stops))
    edge = mixed(colour, (0, 0, 0), 0.7) if sum(colour) > 120 else (84, 85, 90)
    scene.canvas.line(flat, edge, 1.3, closed=True)


def _draw_pipes(scene: Scene) -> None:
    """Two bright tubes below the doors."""
    car = scene.car
    x = np.linspace(car.front_axle - car.arch - 0.08, car.rear_axle + car.arch + 0.02, 20)
    y = car.body.half_width(x, np.full_like(x, 0.3)) + 0.05
    for z, width in ((car.sill + 0.1, 4.2), (car.sill - 0.02, 4.2)):
        line = scene.projection(np.stack([x, y, np.full_like(x, z)], axis=-1))
        scene.canvas.line(line, (30, 31, 33), width + 1.4)
        scene.canvas.line(line, (176, 181, 188), width)
        scene.canvas.line(line - np.array([0, 0.8 * scene.canvas.unit_px]), (250, 251, 253), width * 0.4)


def _draw_snorkel(scene: Scene) -> None:
    """A black tube from the fender up the A-pillar, with a head above the roof."""
    car = scene.car
    level = np.linspace(0.02, 1.0, 8)
    pillar = car.house.at(np.interp(level, car.house.levels, car.house.front) - 0.26, level)
    pillar[:, 1] += 0.06
    foot = car.body.at(np.array([car.cowl + 0.4, car.cowl + 0.05]), 0.9) + np.array([0, 0.05, 0.03])
    path = np.concatenate([foot, pillar, pillar[-1:] + np.array([0.0, 0.0, 0.22])])
    flat = scene.projection(path)
    scene.canvas.line(flat, (104, 107, 112), 6.4)
    scene.canvas.line(flat, (16, 16, 18), 5.0)
    head = pillar[-1] + np.array([0.04, 0.0, 0.27])
    scene.solid(blob((head[0], head[1], head[2]), (0.13, 0.1, 0.11), 3.4), (22, 22, 24))


def _draw_open_door(scene: Scene) -> None:
    """The opening, and the near door above it, seen from within."""
    car, canvas = scene.car, scene.canvas
    lines = door_lines(car)
    level = np.linspace(0.16, 1, 10)
    upper = np.linspace(0.05, 0.95, 8)
    front_edge = np.minimum(np.interp(upper, car.house.levels, car.house.front) - 0.34, lines[0] - 0.04)
    opening = np.concatenate(
        [
            *(car.body.at(lines[0] - 0.04, level), car.house.at(front_edge, upper)),
            *(car.house.at(np.maximum(lines[1] + 0.05, np.full(8, lines[1] + 0.05)), upper)[::-1],),
            car.body.at(lines[1] + 0.05, level)[::-1],
        ]
    )
    canvas.fill(scene.projection(opening), (20, 19, 19))
    seat: Rgb = (92, 84, 78)
    with canvas.clipped(scene.projection(opening)):
        x, z = (lines[0] + lines[1]) / 2 - 0.1, car.sill + 0.45
        scene.solid(blob((x, 0.5, z), (0.3, 0.24, 0.12), 3.0), seat, shine=0.15)
        scene.solid(blob((x - 0.3, 0.5, z + 0.32), (0.1, 0.24, 0.34), 3.0), seat, shine=0.15)
    door = _gullwing(car, 1.0)
    edge = np.concatenate([door[0], door[1:, -1], door[-1, -2::-1], door[-2:0:-1, 0]])
    canvas.fill(scene.projection(edge), mixed(scene.main.colour, (0, 0, 0), 0.25))
    inner = np.concatenate([door[1, 1:-1], door[2:5, -2], door[4, -2:0:-1], door[4:1:-1, 1]])
    canvas.fill(scene.projection(inner), (34, 36, 40))
    canvas.line(scene.projection(edge), scene.main.colour, 2.2, closed=True)
