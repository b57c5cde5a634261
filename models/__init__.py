"""The networks by name."""

from models import aciids2020, iizuka2016, zhang2016

NETWORKS = {"aciids2020": aciids2020, "iizuka2016": iizuka2016, "zhang2016": zhang2016}
