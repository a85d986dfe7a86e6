import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

const css = readFileSync(new URL("../page/styles/base.css", import.meta.url), "utf8");
const SCHEMES = ["light", "dark"];
// Of text, and of what is drawn, by WCAG.
const [TEXT, DRAWN] = [4.5, 3];
// Least distance in OKLab; two neighbouring colours of Okabe and Ito have 0.076.
const APART = 0.1;
// The same between a curve and a warning or an alarm, with the usual sight and without one kind of cones.
const [ALARMING, ALARMING_BLIND] = [0.13, 0.05];
// How who lacks one kind of cones sees linear RGB, by Machado, Oliveira and Fernandes (2009).
const SIGHTS = {
  usual: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  protanopia: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  deuteranopia: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
  tritanopia: [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
};

/** Return the colours of a scheme by name. */
function coloursOf(scheme) {
  const pairs = css.matchAll(/--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)/g);
  return Object.fromEntries(Array.from(pairs, ([, name, light, dark]) => [name, scheme === "light" ? light : dark]));
}

function linear(hex) {
  return [1, 3, 5].map((i) => {
    const part = parseInt(hex.slice(i, i + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
}

function contrast(one, other) {
  const [a, b] = [one, other].map((hex) => product([[0.2126, 0.7152, 0.0722]], linear(hex))[0] + 0.05);
  return Math.max(a / b, b / a);
}

function product(matrix, vector) {
  return matrix.map((row) => row.reduce((sum, x, i) => sum + x * vector[i], 0));
}

function okLab(rgb) {
  const cones = product(
    [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566], [0.0883024619, 0.2817188376, 0.6299787005]],
    rgb.map((x) => Math.max(x, 0)),
  ).map(Math.cbrt);
  return product(
    [[0.2104542553, 0.793617785, -0.0040720468], [1.9779984951, -2.428592205, 0.4505937099], [0.0259040371, 0.7827717662, -0.808675766]],
    cones,
  );
}

function distance(one, other, sight) {
  const [a, b] = [one, other].map((hex) => okLab(product(sight, linear(hex))));
  return Math.hypot(...a.map((x, i) => x - b[i]));
}

for (const scheme of SCHEMES) {
  const colours = coloursOf(scheme);
  const curves = Object.keys(colours).filter((name) => name.startsWith("curve-"));

  test(`text can be read on ${scheme} paper and beside it`, () => {
    for (const name of ["ink", "soft", "accent", "warning", "alarm", "good", "stale"]) {
      for (const ground of ["paper", "raised"]) {
        const found = contrast(colours[name], colours[ground]);
        assert.ok(found >= TEXT, `${name} on ${ground}: ${found.toFixed(2)}`);
      }
    }
    assert.ok(contrast(colours.accent, colours.paper) >= TEXT);
  });

  test(`curves stand out from ${scheme} paper`, () => {
    assert.equal(curves.length, 8);
    for (const name of curves) assert.ok(contrast(colours[name], colours.paper) >= DRAWN, name);
  });

  for (const [name, sight] of Object.entries(SIGHTS)) {
    test(`curves on ${scheme} paper differ with ${name} sight`, () => {
      curves.forEach((one, i) => {
        for (const other of curves.slice(i + 1)) {
          const found = distance(colours[one], colours[other], sight);
          assert.ok(found >= APART, `${one} and ${other}: ${found.toFixed(3)}`);
        }
      });
    });

    test(`curves on ${scheme} paper look like no warning or alarm with ${name} sight`, () => {
      for (const curve of curves) {
        for (const level of ["warning", "alarm"]) {
          const found = distance(colours[curve], colours[level], sight);
          assert.ok(found >= (name === "usual" ? ALARMING : ALARMING_BLIND), `${curve} and ${level}: ${found.toFixed(3)}`);
        }
      }
    });
  }
}
