from .conditions import CONDITIONS as CONDITIONS
from .evaluation import evaluate as evaluate, xrd_retrieval as xrd_retrieval
from .physics import physics_table as physics_table
from .training import RECIPE as RECIPE, pretrain as pretrain, read_recipe as read_recipe
from .vectors import embed_table as embed_table, write_vectors as write_vectors
from .verification import VerifiedFile as VerifiedFile, verify_folder as verify_folder
