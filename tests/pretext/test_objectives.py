import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from pymatgen.analysis.bond_valence import calculate_bv_sum
from pymatgen.core import Lattice, Structure
from torch.nn import functional as F

from deepchem_crystalssl import XRDGrid, simulate_xrd, structures_to_graphs
from deepchem_crystalssl.crystals.elements import bond_valence_parameters, element_features, element_table
from deepchem_crystalssl.nn.crystal_encoder import CrystalEncoder
from deepchem_crystalssl.nn.graph_batch import GraphBatch
from deepchem_crystalssl.nn.xrd_encoder import XRDEncoder
from deepchem_crystalssl.pretext.losses import (
    barlow_twins_loss,
    info_nce_loss,
    nt_xent_loss,
)
from deepchem_crystalssl.pretext import objectives as known_objectives
from deepchem_crystalssl.pretext.batch import PretextBatch
from deepchem_crystalssl.pretext.objectives import (
    OBJECTIVES,
    BarlowTwins,
    BondValences,
    CrystalXRDTriplet,
    InfoNCE,
    DenoisedDistances,
    Descriptors,
    MaskedSites,
    SiteDescriptors,
    TwoViews,
    needed_modalities,
    needed_of_encoder,
    objective_from_configuration,
)
from deepchem_crystalssl.pretext.presets import PRESETS, resolve_objectives
from deepchem_crystalssl.pretext.views import (
    choose_sites,
    choose_species,
    displaced,
    edges_at,
    masked,
    random_view,
)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def batch(graphs):
    return GraphBatch.from_graphs(graphs[:24])


@pytest.fixture(scope="module")
def patterns(graphs):
    return torch.from_numpy(simulate_xrd(graphs[:24], XRDGrid(n_bins=500, fwhm=1.0)))


def pretext_batch(batch, generator, readout="mean", patterns=None):
    torch.manual_seed(0)
    patterns = torch.rand(len(batch), 500) if patterns is None else patterns
    encoder = CrystalEncoder(width=16, n_layers=2, hidden=16, embedding_size=8, readout=readout)
    xrd = XRDEncoder(500, channels=4, hidden=16, embedding_size=8)
    return PretextBatch(
        batch, patterns, torch.eye(len(batch), dtype=torch.bool), encoder, xrd, generator, patterns.flip(1)
    )


def test_only_whole_crystals_move_the_statistics_where_they_are_looked_at(batch, generator):
    """Crystals with something hidden are not what the encoder is used on."""
    means = []
    for objectives in ([Descriptors()], [Descriptors(), MaskedSites(whole_species=True)], [MaskedSites()]):
        parts = pretext_batch(batch, generator)
        parts = replace(parts, views_alone=not any("crystals" in objective.modalities for objective in objectives))
        for objective in objectives:
            objective(parts, objective.build_head(parts.crystal_encoder))
        means.append(parts.crystal_encoder.convolutions[-1].norm.mean.clone())
    whole, both, views = means
    assert torch.equal(whole, both) and views.abs().max() > 0 and not torch.allclose(whole, views, atol=1e-3)


# Losses


def test_info_nce_by_hand():
    torch.manual_seed(0)
    x, y = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    s = (x / x.norm(dim=1, keepdim=True)).numpy() @ (y / y.norm(dim=1, keepdim=True)).numpy().T / 0.2
    expected = (
        -np.mean(
            [
                np.log(np.exp(s[i, i]) / np.exp(s[i]).sum()) + np.log(np.exp(s[i, i]) / np.exp(s[:, i]).sum())
                for i in range(5)
            ]
        )
        / 2
    )
    assert info_nce_loss(x, y, 0.2).item() == pytest.approx(expected)
    assert info_nce_loss(y, x, 0.2).item() == pytest.approx(expected)


def test_nt_xent_by_hand():
    torch.manual_seed(0)
    x, y = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    z = torch.cat([x, y])
    s = np.exp((F.normalize(z, dim=1) @ F.normalize(z, dim=1).T).numpy() / 0.1)
    expected = -np.mean([np.log(s[i, (i + 4) % 8] / (s[i].sum() - s[i, i])) for i in range(8)])
    assert nt_xent_loss(x, y).item() == pytest.approx(expected)
    assert nt_xent_loss(y, x).item() == pytest.approx(expected)


def test_barlow_twins_by_hand():
    torch.manual_seed(0)
    x, y = torch.randn(50, 3, dtype=torch.float64), torch.randn(50, 3, dtype=torch.float64)
    c = np.corrcoef(x.numpy().T, y.numpy().T)[:3, 3:]
    expected = ((1 - np.diag(c)) ** 2).sum() + 0.005 * ((c**2).sum() - (np.diag(c) ** 2).sum())
    assert barlow_twins_loss(x, y).item() == pytest.approx(expected, rel=1e-4)
    assert barlow_twins_loss(x, x).item() < 0.01 + barlow_twins_loss(x, y).item()


@pytest.mark.parametrize("loss", [info_nce_loss, nt_xent_loss])
def test_duplicates_are_no_negatives(loss):
    x = F.normalize(torch.tensor([[1.0, 0.1], [1.0, 0.1], [-1.0, 0.3]]), dim=1)
    same = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.bool)
    assert loss(x, x, 0.1, same=same) < 0.01 < loss(x, x, 0.1)


# Views


def test_chosen_sites_per_crystal(batch, generator):
    chosen = choose_sites(batch, 0.15, generator)
    counts = torch.bincount(batch.crystal[chosen], minlength=len(batch))
    assert torch.equal(counts, torch.minimum((0.15 * batch.num_sites + 1).long(), batch.num_sites))
    assert not torch.equal(chosen, choose_sites(batch, 0.15, generator))


def test_chosen_species_are_whole(batch, generator):
    chosen = choose_species(batch, generator)
    for k in range(len(batch)):
        inside = batch.crystal == k
        hidden = set(batch.atomic_numbers[inside & chosen].tolist())
        shown = set(batch.atomic_numbers[inside & ~chosen].tolist())
        assert len(hidden) == 1
        assert not hidden & shown or len(set(batch.atomic_numbers[inside].tolist())) == 1


@pytest.mark.parametrize("options", [{}, {"angles": True, "bond_relative": True}], ids=["plain", "bond relative"])
def test_hidden_inputs_are_truly_hidden(graphs, generator, options):
    """Another element and another distance in the hidden place change nothing; nor does a bond length tell them."""
    batch = GraphBatch.from_graphs(graphs[:3])
    chosen = choose_sites(batch, 0.3, generator)
    edges = edges_at(batch, chosen)
    torch.manual_seed(0)
    encoder = CrystalEncoder(width=8, n_layers=2, **options).eval()
    before = encoder.encode_sites(masked(batch, chosen, edges))[-1]
    other = GraphBatch.from_graphs(graphs[:3])
    other.atomic_numbers[chosen] = 92
    other.distance[edges] = 1.234
    after = encoder.encode_sites(masked(other, chosen, edges))[-1]
    assert torch.equal(before, after)
    assert not torch.allclose(encoder.encode_sites(batch)[-1], before)
    assert not torch.allclose(encoder.encode_sites(other)[-1], after)


def test_a_hidden_element_is_not_told_by_bond_lengths(graphs, generator):
    """Its distances are seen here, counted from the bonds of an average element."""
    views = []
    for element in (None, 92):
        batch = GraphBatch.from_graphs(graphs[:3])
        chosen = choose_sites(batch, 0.3, torch.Generator().manual_seed(1))
        if element:
            batch.atomic_numbers[chosen] = element
        torch.manual_seed(0)
        encoder = CrystalEncoder(width=8, n_layers=2, bond_relative=True).eval()
        views.append(encoder.encode_sites(masked(batch, chosen))[-1])
    assert torch.equal(*views)


def test_a_hidden_distance_is_hidden_on_its_way_back(batch, generator):
    chosen = choose_sites(batch, 0.15, generator)
    hidden = edges_at(batch, chosen)
    assert (hidden == (chosen[batch.center] | chosen[batch.neighbor])).all() and hidden.any() and not hidden.all()


def test_random_views_differ_and_leave_the_batch_alone(batch, generator):
    one, two = random_view(batch, 0.2, generator), random_view(batch, 0.2, generator)
    assert not torch.equal(one.masked_sites, two.masked_sites) and batch.masked_sites is None
    assert 0.1 < one.masked_edges.float().mean() < 0.3


# Objectives


@pytest.mark.parametrize("name", PRESETS)
def test_presets_descend(batch, patterns, name):
    """Each preset as it is: its objectives on the encoders it names."""
    preset = PRESETS[name]
    losses = descend(batch, patterns, preset.objectives, preset.encoder, preset.xrd_encoder, rate=1e-3, steps=25)
    assert np.mean(losses[-5:]) < 0.85 * losses[0] and np.isfinite(losses).all()


def descend(batch, patterns, objectives, encoder, xrd_encoder, rate, steps):
    """Losses of Adam on one batch, with new draws in every step."""
    torch.manual_seed(0)
    crystals = CrystalEncoder(**encoder, **needed_of_encoder(objectives))
    xrd = XRDEncoder(patterns.shape[1], embedding_size=crystals.embedding_size, **xrd_encoder)
    heads = [objective.build_head(crystals) for objective in objectives]
    optimizer = torch.optim.Adam(torch.nn.ModuleList([crystals, xrd, *heads]).parameters(), rate)
    generator, losses = torch.Generator().manual_seed(0), []
    same = torch.eye(len(batch), dtype=torch.bool)
    measured = patterns * (1 + 0.1 * torch.rand(patterns.shape, generator=generator))
    numbers = {"physics": torch.randn(len(batch), 89), "site_physics": torch.randn(batch.total_sites, 11)}
    for _ in range(steps):
        parts = PretextBatch(batch, measured, same, crystals, xrd, generator, patterns, **numbers)
        loss = sum(objective(parts, head) for objective, head in zip(objectives, heads, strict=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


OTHERS = [BarlowTwins(), DenoisedDistances(), SiteDescriptors(), BondValences(), Descriptors(), InfoNCE()]


@pytest.mark.parametrize("objective", OTHERS, ids=lambda o: o.name)
def test_each_objective_descends_alone(batch, patterns, objective):
    small = dict(width=16, n_layers=2, hidden=16, embedding_size=8, readout="mean_std")
    losses = descend(batch, patterns, [objective], small, dict(channels=4, hidden=16), rate=0.01, steps=80)
    assert np.mean(losses[-5:]) < 0.8 * losses[0] and np.isfinite(losses).all()
    assert OBJECTIVES[type(objective).__name__](**vars(objective)) == objective


def test_moved_sites_change_distances_as_they_should(graphs):
    """To first order, the distances of the crystal really moved; the same on the way back."""
    graph = graphs[7]
    batch = GraphBatch.from_graphs([graph])
    view, change = displaced(batch, 1e-3, torch.Generator().manual_seed(3))
    shift = 1e-3 * torch.randn(graph.num_nodes, 3, generator=torch.Generator().manual_seed(3)).double().numpy()
    j, i = graph.edge_index
    steps = (graph.frac_coords[j] + graph.image - graph.frac_coords[i]) @ graph.lattice + shift[j] - shift[i]
    assert np.allclose(np.linalg.norm(steps, axis=1), view.distance, atol=1e-5)
    assert change.abs().max() > 1e-4 and torch.equal(batch.distance + change, view.distance)
    violent = displaced(batch, 100.0, torch.Generator().manual_seed(3))[0]
    assert (violent.distance > 0).all()


def test_site_descriptors_by_hand(graphs):
    batch = GraphBatch.from_graphs(graphs[3:6])
    targets = SiteDescriptors().targets(batch)
    graph = graphs[4]
    first = graphs[3].num_nodes
    for i in range(graph.num_nodes):
        mine = graph.edge_index[1] == i
        features = element_features()[graph.atomic_numbers]
        d = graph.distance[mine]
        expected = [features[i], features[graph.edge_index[0][mine]].mean(0), [d.mean() - 3, d.std(), len(d) / 12 - 1]]
        assert np.allclose(targets[first + i], np.concatenate(expected), atol=2e-3)


def test_one_crystal_alone_is_safe(graphs):
    batch = GraphBatch.from_graphs(graphs[:1])
    for preset in PRESETS.values():
        parts = pretext_batch(batch, torch.Generator().manual_seed(0), preset.encoder.get("readout", "mean"))
        needs = needed_of_encoder(preset.objectives)
        encoder = CrystalEncoder(width=16, n_layers=2, hidden=16, embedding_size=8, readout="means", **needs)
        numbers = {"physics": torch.randn(1, 89), "site_physics": torch.randn(batch.total_sites, 11)}
        parts = replace(parts, crystal_encoder=encoder, **numbers) if needs else parts
        for objective in (*preset.objectives, *OTHERS):
            assert torch.isfinite(objective(parts, objective.build_head(parts.crystal_encoder)))


def test_masked_questions_and_their_answers(graphs):
    torch.manual_seed(0)
    batch = GraphBatch.from_graphs(graphs[:16])
    objective = MaskedSites(mask_rate=0.3)
    parts = pretext_batch(batch, torch.Generator().manual_seed(0))
    answers = objective.losses(parts, objective.build_head(parts.crystal_encoder))
    assert set(answers) == {"group", "period", "element", "distance"}
    logits, target = answers["distance"]
    assert logits.shape == (len(target), 41) and target.max() <= 40
    assert "distance" not in MaskedSites(edges=False).losses(parts, objective.build_head(parts.crystal_encoder))


@pytest.mark.parametrize("modalities", [("crystals",), ("crystals", "crystals"), ("crystals", "photographs")])
def test_modalities_that_cannot_be_compared(modalities):
    with pytest.raises(ValueError, match="modalities"):
        InfoNCE(modalities)


def test_modalities_of_a_configuration_are_a_list():
    assert InfoNCE(["patterns", "ideal patterns"]) == InfoNCE(("patterns", "ideal patterns"))


# Names of the version before


OLD = [
    ({"class": "Valences", "weight": 2.0, "name": "valences"}, BondValences(2.0, "valences")),
    ({"class": "InfoNCE", "views": ["crystals", "ideal patterns"]}, InfoNCE(("crystals", "ideal patterns"))),
    ({"class": "MaskedSites", "share": 0.3, "name": "masked_sites"}, MaskedSites(mask_rate=0.3)),
    ({"class": "MaskedSites", "share": 0.15, "elements": True}, MaskedSites()),
    ({"class": "CrystalXRDTriplet", "margin": 2.0, "policy": "non-easy"}, CrystalXRDTriplet(2.0)),
    ({"class": "TwoViews", "share": 0.3}, TwoViews(mask_rate=0.3)),
    ({"class": "BarlowTwins", "share": 0.3}, BarlowTwins(mask_rate=0.3)),
]


@pytest.mark.parametrize("fields, expected", OLD, ids=lambda value: str(value)[:30])
def test_old_configurations_are_read(fields, expected):
    """Silently, for nobody can rename what lies in a file; and the constructors take the old names with a warning."""
    before = dict(fields)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert objective_from_configuration(fields) == expected
    assert fields == before
    arguments = {key: value for key, value in fields.items() if key != "class"}
    if {"elements", "policy"} & set(arguments):  # options that are gone
        with pytest.raises(TypeError, match="elements|policy"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            getattr(known_objectives, fields["class"])(**arguments)
        return
    with pytest.warns(FutureWarning, match="is now called"):
        assert getattr(known_objectives, fields["class"])(**arguments) == expected


@pytest.mark.parametrize(
    "cls, option, value", [("CrystalXRDTriplet", "policy", "hard"), ("MaskedSites", "elements", False)]
)
def test_configurations_that_cannot_be_repeated_are_refused(cls, option, value):
    with pytest.raises(TypeError, match=option):
        objective_from_configuration({"class": cls, option: value})


def test_old_names_of_presets_warn_and_name_the_weights():
    for old, new in (("general", "joint-measured"), ("small", "joint-measured-small")):
        with pytest.warns(FutureWarning, match=rf"{new}.*load_pretrained\('{old}'\)"):
            assert resolve_objectives(old) is PRESETS[new]


def test_an_objective_written_for_the_version_before_is_asked_for_what_it_looks_at():
    class Own:
        looks_at = frozenset({"ideal patterns"})

    with pytest.warns(FutureWarning, match="Own.looks_at"):
        assert needed_modalities([Own()]) == {"patterns", "ideal patterns"}
    assert needed_modalities([MaskedSites(), Descriptors()]) == {"crystals"}


def test_bond_valence_targets_are_pymatgens_sums():
    """Of salts, by pymatgen's own function on its own neighbours; its bonds fall off by 0.31 Å, ours by 0.37 Å."""
    for metal, anion, a in (("Mg", "O", 4.21), ("Mn", "O", 4.44), ("Na", "Cl", 5.64)):
        structure = Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), [metal, anion], [[0] * 3, [0.5] * 3])
        nearest = structure.get_neighbors(structure[0], 0.55 * a)
        theirs = calculate_bv_sum(structure[0], nearest)
        expected = 6 * (theirs / 6) ** (0.31 / 0.37)
        graphs = GraphBatch.from_graphs(structures_to_graphs(structure))
        near = graphs.distance < 0.55 * a  # of the farther edges, those between unlike ions add a little
        ours = BondValences().targets(masked(graphs, None, ~near))[:, 0]
        assert len(nearest) == 6 and theirs > 0
        assert np.allclose(ours, [expected] * 4 + [-expected] * 4, rtol=0.03)


def test_bond_valence_targets_by_hand(graphs):
    """All three columns against a loop over the edges."""
    graph = graphs[7]
    targets = BondValences().targets(GraphBatch.from_graphs([graph])).numpy()
    r, c = bond_valence_parameters().astype(float).T
    table = element_table()
    sums, strengths = np.zeros(graph.num_nodes), np.zeros(graph.num_nodes)
    for (j, i), d in zip(graph.edge_index.T, graph.distance, strict=True):
        a, b = graph.atomic_numbers[i], graph.atomic_numbers[j]
        length = r[a] + r[b] - r[a] * r[b] * (c[a] ** 0.5 - c[b] ** 0.5) ** 2 / (c[a] * r[a] + c[b] * r[b])
        valence = np.exp((length - d) / 0.37)
        sums[i] += valence * np.tanh((c[b] - c[a]) / 0.5)
        strengths[i] += valence
    sums = sums.clip(-8, 8)
    assert np.allclose(targets[:, 0], sums, atol=1e-3)
    mass = table["mass_u"][graph.atomic_numbers - 1]
    assert np.allclose(targets[:, 2], np.sqrt(10 * strengths / mass), rtol=1e-4)
    for z, valence, electrons in zip(graph.atomic_numbers, sums, targets[:, 1], strict=True):
        d_block = table["block"][z - 1] == "d"
        left = min(max(table["group"][z - 1] - max(valence, 0), 0), 10) if d_block else 0
        if table["block"][z - 1] != "f":
            assert electrons == pytest.approx(min(left, 10 - left), abs=1e-3)
