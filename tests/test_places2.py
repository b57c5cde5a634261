"""data/places2.py: every name is one of the dataset's own, and paths of both archive layouts are told apart."""

import hashlib
import re
from pathlib import PurePath

import pytest

from data import places2

NATURAL = [name for group in places2.NATURAL.values() for name in group]

NAMES = """
airfield airplane_cabin airport_terminal alcove alley amphitheater amusement_arcade amusement_park
apartment_building/outdoor aquarium aqueduct arcade arch archaelogical_excavation archive arena/hockey
arena/performance arena/rodeo army_base art_gallery art_school art_studio artists_loft assembly_line
athletic_field/outdoor atrium/public attic auditorium auto_factory auto_showroom badlands bakery/shop balcony/exterior
balcony/interior ball_pit ballroom bamboo_forest bank_vault banquet_hall bar barn barndoor baseball_field basement
basketball_court/indoor bathroom bazaar/indoor bazaar/outdoor beach beach_house beauty_salon bedchamber bedroom
beer_garden beer_hall berth biology_laboratory boardwalk boat_deck boathouse bookstore booth/indoor botanical_garden
bow_window/indoor bowling_alley boxing_ring bridge building_facade bullring burial_chamber bus_interior
bus_station/indoor butchers_shop butte cabin/outdoor cafeteria campsite campus canal/natural canal/urban candy_store
canyon car_interior carrousel castle catacomb cemetery chalet chemistry_lab childs_room church/indoor church/outdoor
classroom clean_room cliff closet clothing_store coast cockpit coffee_shop computer_room conference_center
conference_room construction_site corn_field corral corridor cottage courthouse courtyard creek crevasse crosswalk dam
delicatessen department_store desert/sand desert/vegetation desert_road diner/outdoor dining_hall dining_room
discotheque doorway/outdoor dorm_room downtown dressing_room driveway drugstore elevator/door elevator_lobby
elevator_shaft embassy engine_room entrance_hall escalator/indoor excavation fabric_store farm fastfood_restaurant
field/cultivated field/wild field_road fire_escape fire_station fishpond flea_market/indoor florist_shop/indoor
food_court football_field forest/broadleaf forest_path forest_road formal_garden fountain galley garage/indoor
garage/outdoor gas_station gazebo/exterior general_store/indoor general_store/outdoor gift_shop glacier golf_course
greenhouse/indoor greenhouse/outdoor grotto gymnasium/indoor hangar/indoor hangar/outdoor harbor hardware_store
hayfield heliport highway home_office home_theater hospital hospital_room hot_spring hotel/outdoor hotel_room house
hunting_lodge/outdoor ice_cream_parlor ice_floe ice_shelf ice_skating_rink/indoor ice_skating_rink/outdoor iceberg
igloo industrial_area inn/outdoor islet jacuzzi/indoor jail_cell japanese_garden jewelry_shop junkyard kasbah
kennel/outdoor kindergarden_classroom kitchen lagoon lake/natural landfill landing_deck laundromat lawn lecture_room
legislative_chamber library/indoor library/outdoor lighthouse living_room loading_dock lobby lock_chamber locker_room
mansion manufactured_home market/indoor market/outdoor marsh martial_arts_gym mausoleum medina mezzanine moat/water
mosque/outdoor motel mountain mountain_path mountain_snowy movie_theater/indoor museum/indoor museum/outdoor
music_studio natural_history_museum nursery nursing_home oast_house ocean office office_building office_cubicles
oilrig operating_room orchard orchestra_pit pagoda palace pantry park parking_garage/indoor parking_garage/outdoor
parking_lot pasture patio pavilion pet_shop pharmacy phone_booth physics_laboratory picnic_area pier pizzeria
playground playroom plaza pond porch promenade pub/indoor racecourse raceway raft railroad_track rainforest reception
recreation_room repair_shop residential_neighborhood restaurant restaurant_kitchen restaurant_patio rice_paddy river
rock_arch roof_garden rope_bridge ruin runway sandbox sauna schoolhouse science_museum server_room shed shoe_shop
shopfront shopping_mall/indoor shower ski_resort ski_slope sky skyscraper slum snowfield soccer_field stable
stadium/baseball stadium/football stadium/soccer stage/indoor stage/outdoor staircase storage_room street
subway_station/platform supermarket sushi_bar swamp swimming_hole swimming_pool/indoor swimming_pool/outdoor
synagogue/outdoor television_room television_studio temple/asia throne_room ticket_booth topiary_garden tower toyshop
train_interior train_station/platform tree_farm tree_house trench tundra underwater/ocean_deep utility_room valley
vegetable_garden veterinarians_office viaduct village vineyard volcano volleyball_court/outdoor waiting_room
water_park water_tower waterfall watering_hole wave wet_bar wheat_field wind_farm windmill yard youth_hostel
zen_garden
"""
PLACES365 = NAMES.split()


def test_the_literal_list_is_the_datasets_own_file():
    lines = "\n".join(f"/{name[0]}/{name} {index}" for index, name in enumerate(PLACES365))
    # The checksum of categories_places365.txt that torchvision.datasets.Places365 verifies.
    assert hashlib.md5(lines.encode()).hexdigest() == "06c963b85866bd0649f97cb43dd16673"


def test_names_exist_in_places365_and_stand_once():
    assert set(NATURAL) <= set(PLACES365)
    assert len(set(NATURAL)) == len(NATURAL)


def test_docstring_counts_are_those_of_the_lists():
    counts = {
        group: int(count)
        for count, group in re.findall(r"^ +(\d+)  (.+)$", places2.__doc__, re.MULTILINE)
    }
    assert counts == {group: len(names) for group, names in places2.NATURAL.items()} | {
        "in total": len(NATURAL)
    }


@pytest.mark.parametrize(
    "layout",
    [
        lambda name: f"data_256/{name[0]}/{name}/00000001.jpg",
        lambda name: f"places2/data_large/{name[0]}/{name}/00000001.jpg",
        lambda name: f"{name}/00000001.jpg",
        lambda name: f"places365_standard/train/{name.replace('/', '-')}/00000001.jpg",
        lambda name: f"{name.replace('/', '-')}/00000001.jpg",
    ],
)
def test_exactly_the_natural_categories_of_the_365_are_recognised(layout):
    for name in PLACES365:
        assert places2.is_natural(layout(name)) == (name in NATURAL), name
        assert places2.is_natural(PurePath(layout(name))) == (name in NATURAL), name


@pytest.mark.parametrize(
    "path",
    [
        "data_256/f/forest/00000001.jpg",
        "data_256/f/forest_road/00000001.jpg",
        "data_256/f/field_road/00000001.jpg",
        "data_256/d/desert_road/00000001.jpg",
        "data_256/d/desert/00000001.jpg",
        "data_256/b/beach_house/00000001.jpg",
        "data_256/s/skyscraper/00000001.jpg",
        "train/desert-sandbox/00000001.jpg",
        "train/field/road/wild/00000001.jpg",
        "sand/desert/00000001.jpg",
        "test_256/mountain/",
        "test_256/Places365_test_00000001.jpg",
        "mountain.jpg",
        "lake/natural.jpg",
        "",
    ],
)
def test_near_misses_are_refused(path):
    assert not places2.is_natural(path)
