//! Places and the phrases that fit every topic. The template language is described in `topics`.

/// General phrases. The first `anywhere` of them name no place in the Netherlands.
#[derive(Debug)]
pub(super) struct Phrases {
    pub(super) all: &'static [&'static str],
    pub(super) anywhere: usize,
}

impl Phrases {
    /// Those that fit a topic.
    pub(super) fn fitting(&self, abroad: bool) -> &'static [&'static str] {
        if abroad { &self.all[..self.anywhere] } else { self.all }
    }
}

pub(super) const PLACES: &[&str] = &[
    "Alkmaar",
    "Almelo",
    "Almere",
    "Alphen aan den Rijn",
    "Amersfoort",
    "Apeldoorn",
    "Arnhem",
    "Assen",
    "Barneveld",
    "Bergen op Zoom",
    "Breda",
    "Coevorden",
    "Culemborg",
    "Delfzijl",
    "Delft",
    "Deventer",
    "Doetinchem",
    "Dokkum",
    "Dordrecht",
    "Drachten",
    "Ede",
    "Eindhoven",
    "Emmen",
    "Enkhuizen",
    "Enschede",
    "Goes",
    "Gorinchem",
    "Gouda",
    "Groningen",
    "Haarlem",
    "Hardenberg",
    "Heerenveen",
    "Heerlen",
    "Helmond",
    "Hengelo",
    "Hilversum",
    "Hoogeveen",
    "Hoorn",
    "Hulst",
    "Kampen",
    "Leeuwarden",
    "Leiden",
    "Lelystad",
    "Maastricht",
    "Meppel",
    "Middelburg",
    "Nijmegen",
    "Oss",
    "Purmerend",
    "Roermond",
    "Roosendaal",
    "Rotterdam",
    "Schiedam",
    "Sittard",
    "Sneek",
    "Stadskanaal",
    "Steenwijk",
    "Terneuzen",
    "Tiel",
    "Tilburg",
    "Utrecht",
    "Veendam",
    "Venlo",
    "Vlaardingen",
    "Vlissingen",
    "Wageningen",
    "Weert",
    "Winterswijk",
    "Zaandam",
    "Zierikzee",
    "Zutphen",
    "Zwolle",
];

pub(super) const REGIONS: &[&str] = &[
    "Zeeland",
    "Limburg",
    "Friesland",
    "Drenthe",
    "Overijssel",
    "Gelderland",
    "Flevoland",
    "Noord-Brabant",
    "Twente",
    "Zuid-Limburg",
    "West-Brabant",
    "Oost-Groningen",
    "Zeeuws-Vlaanderen",
    "Zuidoost-Drenthe",
    "Midden-Limburg",
    "Noordoost-Brabant",
    "de Achterhoek",
    "de Veluwe",
    "het Groene Hart",
    "de Kop van Noord-Holland",
    "de Alblasserwaard",
    "de Noordoostpolder",
    "de Hoeksche Waard",
    "de Betuwe",
];

/// After "constaterende dat".
pub(super) const FACTS: Phrases = Phrases {
    all: &[
        "de Kamer in {y} al een motie over {T} heeft aangenomen en de uitvoering daarvan nog niet is afgerond",
        "de regering in {y} heeft toegezegd met een plan over {T} te komen, maar dat plan [tot op heden|nog altijd] ontbreekt",
        "volgens {O} de knelpunten rond {T} sinds {y} [zijn toegenomen|nauwelijks zijn afgenomen]",
        "tijdens het debat uitvoerig is gesproken over {T} en over de positie van {G}",
        "van de middelen die voor {T} waren gereserveerd eind {y} nog {m} niet was besteed",
        "in een peiling onder {g} {%} aangeeft zich [ernstige zorgen|zorgen] te maken over {T}",
        "uit een rondgang langs {k} gemeenten, waaronder {P} en {Q}, blijkt dat de verschillen rond {T} groot zijn",
        "er grote zorgen bestaan over {T}, in het bijzonder in {R}",
        "in {P} een proef loopt [die {k} jaar duurt|met {n} deelnemers] en de eerste resultaten daarvan bemoedigend zijn",
        "{G} in {P} en {Q} bij {k} verschillende instanties moeten aankloppen voordat zij een antwoord krijgen",
    ],
    anywhere: 6,
};

/// After "overwegende dat".
pub(super) const CONSIDERATIONS: Phrases = Phrases {
    all: &[
        "{G} gebaat zijn bij duidelijkheid en niet bij [nieuw uitstel|wisselend beleid]",
        "zorgvuldig beleid rond {T} vraagt om samenwerking tussen het Rijk, {O} en {o}",
        "[goede|betrouwbare] gegevens over {T} nu ontbreken, waardoor het moeilijk is om gericht maatregelen te nemen",
        "de kosten van niets doen op termijn hoger zijn dan die van een tijdige aanpak",
        "bij besluiten over {T} ook de gevolgen voor {g} moeten worden meegewogen",
        "het Rijk hierin een eigen verantwoordelijkheid heeft en die niet kan afschuiven op {O}",
        "oplossingen het beste werken wanneer {G} er vanaf het begin bij worden betrokken",
        "een [tijdelijke|eenmalige] maatregel onvoldoende is om {G} perspectief te bieden",
        "de kennis die bij {O} en {o} aanwezig is beter kan worden benut",
        "vertrouwen in de overheid begint bij het nakomen van afspraken, ook waar het gaat om {T}",
        "de ervaringen in {P} en {Q} laten zien dat het ook anders kan",
        "de verschillen tussen {P} en {Q} [moeilijk zijn uit te leggen|steeds groter worden]",
    ],
    anywhere: 10,
};

/// After "van mening dat".
pub(super) const VIEWS: Phrases = Phrases {
    all: &[
        "{G} niet de dupe mogen worden van [traag bestuur|ondoordachte keuzes|onduidelijke regels]",
        "het Rijk hierin het goede voorbeeld dient te geven",
        "afwachten [geen optie meer is|niet langer verantwoord is]",
        "zorgvuldigheid en snelheid elkaar hier niet hoeven uit te sluiten",
        "dit vraagstuk een langjarige en samenhangende aanpak verdient",
        "publiek geld doelmatig en controleerbaar moet worden besteed",
        "beleid rond {T} alleen slaagt als het in de praktijk uitvoerbaar is",
        "{G} in {R} evenveel recht hebben op ondersteuning als {G} in de grote steden",
    ],
    anywhere: 7,
};

/// Between "verzoekt de regering" and the request.
pub(super) const OPENINGS: &[&str] =
    &["in overleg met {O} ", "samen met {O} en {o} ", "in samenspraak met {O} ", "op korte termijn ", "zo spoedig mogelijk "];

/// After a request.
pub(super) const CLOSINGS: Phrases = Phrases {
    all: &[
        ", en de Kamer hierover {q} te informeren",
        ", en de Kamer {q} een plan van aanpak te sturen",
        ", en de Kamer {q} over de voortgang te berichten",
        ", en de uitkomsten {q} met de Kamer te delen",
        ", en daarbij in het bijzonder oog te hebben voor {g} in {P}",
    ],
    anywhere: 4,
};

/// A second request that fits after any first one.
pub(super) const SECOND_REQUESTS: Phrases = Phrases {
    all: &[
        "{O} en {o} bij de uitwerking te betrekken",
        "de effecten hiervan na {k} jaar onafhankelijk te laten evalueren",
        "te bezien welke belemmeringen in wet- en regelgeving hiervoor moeten worden weggenomen",
        "jaarlijks voor de behandeling van de begroting over {T} aan de Kamer te rapporteren",
        "de kosten en de dekking hiervan {q} in beeld te brengen",
        "na te gaan welke lessen uit {P} en {Q} elders kunnen worden toegepast",
    ],
    anywhere: 5,
};

/// Terms for the government: `{q}`. `{J}` is the year after the motion.
pub(super) const TERMS: &[&str] = &[
    "voor het zomerreces",
    "voor het kerstreces",
    "voor het einde van het jaar",
    "binnen {k} maanden",
    "in het [eerste|tweede|derde] kwartaal van {J}",
    "bij de Voorjaarsnota",
    "voor de behandeling van de begroting",
    "uiterlijk in [het voorjaar|het najaar|januari|september] van {J}",
];

/// `{k}`.
pub(super) const NUMBERS: &[&str] = &["twee", "drie", "vier", "vijf", "zes", "zeven", "acht", "negen", "tien", "twaalf"];

/// `{x}`, a share of plural people; the verb is singular.
pub(super) const SHARES: &[&str] =
    &["een op de drie", "een op de vier", "een op de vijf", "een op de zes", "een op de acht", "een op de tien"];

/// The meetings outside the plenary at which a motion can be put forward.
pub(super) const MEETINGS: &[&str] = &["Notaoverleg", "Wetgevingsoverleg", "Tweeminutendebat"];
