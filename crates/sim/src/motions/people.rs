//! Who submits the generated motions. Parties and members are invented.

use std::sync::LazyLock;

/// A party: its name, how many of a thousand of its motions that come to a vote are carried, its members.
struct Party(&'static str, usize, &'static [&'static str]);

// Parties differ in size and in success, so that a count by party shows something.
const PARTIES: &[Party] = &[
    Party(
        "Polderverbond",
        780,
        &[
            "Haverdonk",
            "Wielhoek",
            "Van der Sluiswei",
            "Morsbrink",
            "De Lindeboer",
            "Zandwetering",
            "Grasduin",
            "El Maziri",
            "Tolhaven",
            "Brugstra",
            "Molenkreek",
            "Van Wolfsbroek",
        ],
    ),
    Party(
        "Nieuwe Sluis",
        740,
        &[
            "Rietmaker",
            "Kerkelaar",
            "Ten Eikelaar",
            "Duinhoven",
            "Yildirkan",
            "Heidekamper",
            "Oudewal",
            "Van Ravenspoel",
            "Stadelaar",
            "Zilverberken",
        ],
    ),
    Party(
        "Open Horizon",
        720,
        &[
            "Kloosterbeemd",
            "Hoogakker",
            "Santokhan",
            "Van de Leemkuil",
            "Poelwijk",
            "Blauwdorp",
            "Elsbroekman",
            "Varenhorst-Tol",
            "Kruidhoek",
        ],
    ),
    Party(
        "Groene Delta",
        560,
        &["Kwelderstra", "Appelgaarde", "Bouzakari", "Rozenwiel", "Akkerzijl", "De Bladergroen", "Sneeuwbes", "Waterlaar"],
    ),
    Party(
        "Samenstroom",
        640,
        &["Wierdinga", "Terpsmeer", "Lammersloot", "Ramsoedar", "Van Hazelbeek", "Dijkwachter", "Perenhof", "Koolwijker"],
    ),
    Party("Volkskring", 410, &["Boterkoop", "IJzerhoek", "Van den Turfgraaf", "Achterkuil", "Smidsveld", "Demirtok", "Koperwiek"]),
    Party("Vrije Akker", 520, &["Ploegmakers-Vos", "Van der Korenschoof", "Hooibrink", "Klaverland", "Melkstra", "Bietenkamp"]),
    Party("Stadslicht", 480, &["Okonta", "Grachtenaar", "Van Lantaarn", "Neonius", "Tramhuis"]),
    Party("Dijk en Duin", 600, &["Zeewering", "Van der Helmgras", "Schelpenaar", "Kribbendam"]),
    Party("Baken", 670, &["Vuurdoren", "De Loodsman", "Van Tonnenveld"]),
    Party("Eendracht Nu", 260, &["Hamerslot", "Van Stormvogel", "Kantelaar", "Bolderik", "Wervelman", "Trompstra"]),
    Party("Kring voor Recht", 580, &["Weegschalk", "Van der Toetsing"]),
];

/// A member of parliament, with the spelling that the heading needs.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) upper: String,
    pub(super) party: &'static str,
    /// How many of a thousand motions with a clear result are carried.
    pub(super) carried: usize,
}

pub(super) static MEMBERS: LazyLock<Vec<Member>> = LazyLock::new(|| {
    PARTIES
        .iter()
        .flat_map(|Party(party, carried, names)| {
            names.iter().map(move |name| Member { name, upper: name.to_uppercase(), party, carried: *carried })
        })
        .collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let names: std::collections::HashSet<_> = MEMBERS.iter().map(|member| member.name).collect();
        assert_eq!(names.len(), MEMBERS.len());
        assert!(MEMBERS.len() >= 70);
    }
}
