// Radiations of the laboratory, and what a pattern is with another one.

/** K-alpha 1 of the usual anodes, Å, as in deepchem_crystalssl/diffraction/radiation.py. */
export const K_ALPHA_1 = new Map([
  ["Cu", 1.54056], ["Mo", 0.7093], ["Co", 1.78896], ["Cr", 2.2897], ["Fe", 1.93604], ["Ag", 0.559421],
]);

const RADIANS = Math.PI / 180;

/**
 * The lattice spacing (Å) of a line, by Bragg's law.
 * @param {number} twoTheta  degrees
 * @param {number} wavelength  Å
 */
export const spacingOf = (twoTheta, wavelength) => wavelength / (2 * Math.sin((twoTheta / 2) * RADIANS));

/**
 * The angle (degrees) of a spacing; NaN where there is no reflection with this wavelength.
 * @param {number} d  Å
 * @param {number} wavelength  Å
 */
export const angleOf = (d, wavelength) => (2 * Math.asin(wavelength / (2 * d))) / RADIANS;

/**
 * The Lorentz-polarisation factor of a powder without a monochromator.
 * @param {number} twoTheta  degrees
 */
export function lorentzPolarization(twoTheta) {
  const theta = (twoTheta / 2) * RADIANS;
  return (1 + Math.cos(2 * theta) ** 2) / (Math.sin(theta) ** 2 * Math.cos(theta));
}

/**
 * Intensities with another wavelength, the highest is 1; those of lines that it does not show are NaN. Structure
 * factors depend on the spacing alone, but for anomalous scattering, which is ignored.
 * @param {number[]} spacings  Å
 * @param {number[]} intensities
 * @param {number} from  Å
 * @param {number} to  Å
 * @returns {number[]}
 */
export function withWavelength(spacings, intensities, from, to) {
  const found = spacings.map((d, i) => (intensities[i] * lorentzPolarization(angleOf(d, to))) / lorentzPolarization(angleOf(d, from)));
  const highest = Math.max(...found.filter(Number.isFinite));
  return found.map((value) => value / highest);
}
