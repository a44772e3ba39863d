// Symbols of the space groups, written by tools/build_page_tables.py.

// The short symbol of each group, the first is that of number 1.
export const STANDARD_SYMBOLS = [
  "P1", "P-1", "P2", "P2_1", "C2", "Pm", "Pc", "Cm", "Cc", "P2/m", "P2_1/m", "C2/m", "P2/c", "P2_1/c", "C2/c", "P222",
  "P222_1", "P2_12_12", "P2_12_12_1", "C222_1", "C222", "F222", "I222", "I2_12_12_1", "Pmm2", "Pmc2_1", "Pcc2",
  "Pma2", "Pca2_1", "Pnc2", "Pmn2_1", "Pba2", "Pna2_1", "Pnn2", "Cmm2", "Cmc2_1", "Ccc2", "Amm2", "Aem2", "Ama2",
  "Aea2", "Fmm2", "Fdd2", "Imm2", "Iba2", "Ima2", "Pmmm", "Pnnn", "Pccm", "Pban", "Pmma", "Pnna", "Pmna", "Pcca",
  "Pbam", "Pccn", "Pbcm", "Pnnm", "Pmmn", "Pbcn", "Pbca", "Pnma", "Cmcm", "Cmce", "Cmmm", "Cccm", "Cmme", "Ccce",
  "Fmmm", "Fddd", "Immm", "Ibam", "Ibca", "Imma", "P4", "P4_1", "P4_2", "P4_3", "I4", "I4_1", "P-4", "I-4", "P4/m",
  "P4_2/m", "P4/n", "P4_2/n", "I4/m", "I4_1/a", "P422", "P42_12", "P4_122", "P4_12_12", "P4_222", "P4_22_12",
  "P4_322", "P4_32_12", "I422", "I4_122", "P4mm", "P4bm", "P4_2cm", "P4_2nm", "P4cc", "P4nc", "P4_2mc", "P4_2bc",
  "I4mm", "I4cm", "I4_1md", "I4_1cd", "P-42m", "P-42c", "P-42_1m", "P-42_1c", "P-4m2", "P-4c2", "P-4b2", "P-4n2",
  "I-4m2", "I-4c2", "I-42m", "I-42d", "P4/mmm", "P4/mcc", "P4/nbm", "P4/nnc", "P4/mbm", "P4/mnc", "P4/nmm", "P4/ncc",
  "P4_2/mmc", "P4_2/mcm", "P4_2/nbc", "P4_2/nnm", "P4_2/mbc", "P4_2/mnm", "P4_2/nmc", "P4_2/ncm", "I4/mmm", "I4/mcm",
  "I4_1/amd", "I4_1/acd", "P3", "P3_1", "P3_2", "R3", "P-3", "R-3", "P312", "P321", "P3_112", "P3_121", "P3_212",
  "P3_221", "R32", "P3m1", "P31m", "P3c1", "P31c", "R3m", "R3c", "P-31m", "P-31c", "P-3m1", "P-3c1", "R-3m", "R-3c",
  "P6", "P6_1", "P6_5", "P6_2", "P6_4", "P6_3", "P-6", "P6/m", "P6_3/m", "P622", "P6_122", "P6_522", "P6_222",
  "P6_422", "P6_322", "P6mm", "P6cc", "P6_3cm", "P6_3mc", "P-6m2", "P-6c2", "P-62m", "P-62c", "P6/mmm", "P6/mcc",
  "P6_3/mcm", "P6_3/mmc", "P23", "F23", "I23", "P2_13", "I2_13", "Pm-3", "Pn-3", "Fm-3", "Fd-3", "Im-3", "Pa-3",
  "Ia-3", "P432", "P4_232", "F432", "F4_132", "I432", "P4_332", "P4_132", "I4_132", "P-43m", "F-43m", "I-43m",
  "P-43n", "F-43c", "I-43d", "Pm-3m", "Pn-3n", "Pm-3n", "Pn-3m", "Fm-3m", "Fm-3c", "Fd-3m", "Fd-3c", "Im-3m", "Ia-3d",
];

// Symbols of other settings after the number of their group.
export const OTHER_SETTINGS = [
  "1 A1 B1 C1 F1 I1", "3 P112 P211 B2 C112", "4 P1121 P2111 B21 C1121",
  "5 A2 I2 A112 B112 I112 B211 C211 I211 I21 C21 F2", "6 P11m Pm11", "7 Pn Pa P11a P11n P11b Pb11 Pn11 Pc11",
  "8 Am Im A11m B11m I11m Bm11 Cm11 Im11 Fm",
  "9 An Ia Aa Cn Ic A11a B11n I11b B11b A11n I11a Bb11 Cn11 Ic11 Cc11 Bn11 Ib11 Fd", "10 P112/m P2/m11",
  "11 P1121/m P21/m11", "12 A2/m I2/m A112/m B112/m I112/m B2/m11 C2/m11 I2/m11 F2/m",
  "13 P2/n P2/a P112/a P112/n P112/b P2/b11 P2/n11 P2/c11",
  "14 P21/n P21/a P1121/a P1121/n P1121/b P21/b11 P21/n11 P21/c11",
  "15 A2/n I2/a A2/a C2/n I2/c A112/a B112/n I112/b B112/b A112/n I112/a B2/b11 C2/n11 I2/c11 C2/c11 B2/n11 I2/b11",
  "17 P2122 P2212", "18 P22121 P21221", "20 A2122 B2212", "21 A222 B222 C222a", "22 F222a", "23 I222a",
  "25 P2mm Pm2m", "26 Pcm21 P21ma P21am Pb21m Pm21b", "27 P2aa Pb2b", "28 Pbm2 P2mb P2cm Pc2m Pm2a",
  "29 Pbc21 P21ab P21ca Pc21b Pb21a", "30 Pcn2 P2na P2an Pb2n Pn2b", "31 Pnm21 P21mn P21nm Pn21m Pm21n",
  "32 P2cb Pc2a", "33 Pbn21 P21nb P21cn Pc21n Pn21a", "34 P2nn Pn2n", "35 A2mm Bm2m",
  "36 Ccm21 A21ma A21am Bb21m Bm21b", "37 A2aa Bb2b", "38 Bmm2 B2mm C2mm Cm2m Am2m",
  "39 Abm2 Bma2 B2cm C2mb Cm2a Ac2m", "40 Bbm2 B2mb C2cm Cc2m Am2a", "41 Aba2 Bba2 B2cb C2cb Cc2a Ac2a",
  "42 F2mm Fm2m", "43 F2dd Fd2d", "44 I2mm Im2m", "45 I2cb Ic2a", "46 Ibm2 I2mb I2cm Ic2m Im2a", "49 Pmaa Pbmb",
  "50 Pncb Pcna", "51 Pmmb Pbmm Pcmm Pmcm Pmam", "52 Pnnb Pbnn Pcnn Pncn Pnan", "53 Pnmb Pbmn Pcnm Pncm Pman",
  "54 Pccb Pbaa Pcaa Pbcb Pbab", "55 Pmcb Pcma", "56 Pnaa Pbnb", "57 Pcam Pmca Pmab Pbma Pcmb", "58 Pmnn Pnmn",
  "59 Pnmm Pmnm", "60 Pcan Pnca Pnab Pbna Pcnb", "61 Pcab", "62 Pmnb Pbnm Pcmn Pmcn Pnam",
  "63 Ccmm Amma Amam Bbmm Bmmb", "64 Cmca Ccmb Abma Acam Bbcm Bmab Abam", "65 Ammm Bmmm", "66 Amaa Bbmb",
  "67 Cmma Cmmb Abmm Acmm Bmcm Bmam", "68 Ccca Cccb Abaa Acaa Bbcb Bbab", "72 Imcb Icma", "73 Icab",
  "74 Immb Ibmm Icmm Imcm Imam",
];
