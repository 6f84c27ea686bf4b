//! Topics about land, water, nature and energy.

use super::Topic;

pub(super) const TOPICS: &[Topic] = &[
    Topic {
        name: "stikstof",
        abroad: false,
        dossiers: &[("35 334", "Aanpak van stikstof"), ("33 576", "Natuurherstel en vergunningen")],
        subjects: &[
            "de uitstoot van stikstof",
            "de vergunningverlening rond natuurgebieden",
            "de vrijwillige beëindiging van veehouderijen",
        ],
        groups: &["boeren", "natuurbeheerders", "jonge agrariërs", "ondernemers zonder geldige vergunning"],
        organisations: &["de provincies", "de landbouworganisaties", "de natuurorganisaties", "de terreinbeheerders", "de waterschappen"],
        facts: &[
            "in {R} nog {%} van de stikstofgevoelige natuur boven de kritische grens wordt belast",
            "sinds {y} [{n} vergunningaanvragen stilliggen|geen nieuwe vergunningen worden verleend] in de omgeving van {P}",
            "van de beschikbare {m} voor vrijwillige uitkoop eind {y} pas {%} was toegekend",
            "{n} ondernemers al meer dan {k} jaar wachten op het legaliseren van hun bedrijf",
            "metingen rond {P} een ander beeld geven dan de [modelberekeningen|landelijke schattingen] van {k} jaar geleden",
        ],
        considerations: &[
            "{G} alleen kunnen investeren wanneer de regels voor langere tijd vaststaan",
            "natuurherstel en een toekomst voor de landbouw in {R} hand in hand moeten gaan",
            "innovaties in de stal pas meetellen als [de werking in de praktijk is aangetoond|onafhankelijk is gemeten]",
            "zonder daling van de uitstoot ook [woningbouw, wegen en defensieterreinen|de energietransitie] op slot blijven staan",
            "een gebied als {R} om maatwerk vraagt en een generieke korting daar averechts werkt",
        ],
        requests: &[
            (
                "een oplossing voor {G} in {R}",
                "met een oplossing te komen voor {G} in {R} en daarvoor per gebied een eindbeeld voor {Y} vast te stellen",
            ),
            ("meer metingen van stikstof rond {P}", "het meetnet voor stikstof rond {P} met ten minste {k} meetpunten uit te breiden"),
            (
                "het verlengen van de regeling voor vrijwillige uitkoop",
                "de regeling voor vrijwillige beëindiging tot {Y} te verlengen en de voorwaarden voor kleinere bedrijven te vereenvoudigen",
            ),
            (
                "doelen in plaats van middelen op het boerenerf",
                "uit te werken hoe op bedrijfsniveau op doelen in plaats van op middelen kan worden gestuurd, te beginnen met een proef in {R}",
            ),
            ("natuurherstel rond {P}", "de uitvoering van natuurherstel rond {P} te versnellen door {m} eerder beschikbaar te stellen"),
        ],
    },
    Topic {
        name: "landbouw",
        abroad: false,
        dossiers: &[("28 986", "Landbouw, visserij en voedsel"), ("36 600 XIV", "Begroting voor landbouw, visserij en natuur")],
        subjects: &["het verdienvermogen van boeren", "de overdracht van familiebedrijven", "het gebruik van bestrijdingsmiddelen"],
        groups: &["boeren en tuinders", "akkerbouwers", "biologische boeren", "bedrijfsopvolgers"],
        organisations: &["de landbouworganisaties", "de supermarkten", "de banken", "de zuivelbedrijven", "de waterschappen"],
        facts: &[
            "een boer van elke euro die in de winkel aan [aardappelen|melk|groente] wordt besteed minder dan {%} ontvangt",
            "{x} agrarische bedrijven in {R} geen opvolger heeft",
            "het areaal biologische landbouw sinds {y} met slechts {%} is gegroeid",
            "de pacht van landbouwgrond in {R} in {k} jaar tijd met {%} is gestegen",
            "door [droogte|wateroverlast|vorst] in {y} in de omgeving van {P} {%} van de oogst verloren is gegaan",
        ],
        considerations: &[
            "{G} een eerlijke prijs moeten krijgen voor hun inspanningen voor natuur en landschap",
            "jonge boeren door de hoge grondprijs moeilijk een bedrijf kunnen beginnen of overnemen",
            "korte ketens tussen boer en burger rond {P} bijdragen aan [vertrouwen|een hogere opbrengst voor het gezinsbedrijf]",
            "het stapelen van regels vooral kleinere bedrijven treft",
            "voedselzekerheid vraagt om behoud van vruchtbare landbouwgrond in {R}",
        ],
        requests: &[
            (
                "een eerlijke beloning voor {G}",
                "afspraken te maken over een eerlijke beloning voor {G} die aan bovenwettelijke eisen voldoen",
            ),
            (
                "een regeling voor jonge bedrijfsopvolgers",
                "een regeling van {m} uit te werken waarmee bedrijfsopvolgers grond tegen een redelijke pacht kunnen gebruiken",
            ),
            (
                "meer biologische producten in overheidskantines",
                "te regelen dat in {Y} ten minste {%} van het aanbod in overheidskantines biologisch is",
            ),
            (
                "een verzekering tegen extreem weer",
                "de brede weersverzekering toegankelijker te maken voor {G}, onder meer door het eigen risico te verlagen",
            ),
            (
                "het tegengaan van oneerlijke handelspraktijken",
                "het toezicht op oneerlijke handelspraktijken te versterken en {G} de mogelijkheid te geven anoniem te melden",
            ),
        ],
    },
    Topic {
        name: "water",
        abroad: false,
        dossiers: &[("27 625", "Waterbeleid"), ("36 600 J", "Begroting van het deltafonds")],
        subjects: &["de kwaliteit van het oppervlaktewater", "de beschikbaarheid van drinkwater", "de bescherming tegen hoogwater"],
        groups: &["inwoners", "agrariërs", "dijkbewoners", "drinkwaterklanten"],
        organisations: &["de waterschappen", "de drinkwaterbedrijven", "de provincies", "de natuurorganisaties", "de gemeenten"],
        facts: &[
            "slechts {%} van de wateren in {R} aan de normen voor schoon water voldoet",
            "het drinkwaterbedrijf in {R} sinds {y} {n} nieuwe aansluitingen [heeft uitgesteld|niet kan toezeggen]",
            "in het oppervlaktewater bij {P} resten van {k} schadelijke stoffen zijn aangetroffen",
            "van de dijken langs de rivier tussen {P} en {Q} nog {n} meter niet aan de nieuwe norm voldoet",
            "bij de wateroverlast van {y} in {P} voor [ruim|ongeveer] {m} aan schade is ontstaan",
        ],
        considerations: &[
            "voldoende schoon water voor {G} geen vanzelfsprekendheid meer is",
            "vervuiling bij de bron aanpakken goedkoper is dan zuiveren achteraf",
            "[nattere winters en drogere zomers|hevige buien] vragen om meer ruimte voor water in {R}",
            "nieuwe woonwijken bij {P} niet op plekken moeten komen waar het water juist de ruimte nodig heeft",
            "lozingsvergunningen soms ouder zijn dan {k} jaar en dus niet meer passen bij de huidige kennis",
        ],
        requests: &[
            (
                "het herzien van verouderde lozingsvergunningen",
                "te bevorderen dat alle lozingsvergunningen ouder dan {k} jaar voor {Y} worden herzien, te beginnen in {R}",
            ),
            (
                "een drinkwaterplan voor {R}",
                "een plan op te stellen waarmee de drinkwatervoorziening in {R} tot ten minste {Y} is verzekerd",
            ),
            (
                "meer ruimte voor wateropvang bij {P}",
                "te onderzoeken welke gebieden rond {P} geschikt zijn als tijdelijke waterberging, en eigenaren daarvoor een redelijke vergoeding te bieden",
            ),
            (
                "versnelde versterking van dijken tussen {P} en {Q}",
                "de versterking van de dijken tussen {P} en {Q} naar voren te halen en {G} bij het ontwerp te betrekken",
            ),
            (
                "een verbod op de lozing van moeilijk afbreekbare stoffen",
                "een verbod voor te bereiden op het lozen van stoffen die in de natuur nauwelijks afbreken, met een overgangstermijn van {k} jaar",
            ),
        ],
    },
    Topic {
        name: "energie",
        abroad: false,
        dossiers: &[("29 023", "Voorziening van energie"), ("31 239", "Duurzame energie"), ("32 813", "Klimaatbeleid")],
        subjects: &["de wachtlijst voor een stroomaansluiting", "de energierekening van huishoudens", "het isoleren van woningen"],
        groups: &["huishoudens", "ondernemers", "huurders", "energiecoöperaties"],
        organisations: &["de netbeheerders", "de energiebedrijven", "de gemeenten", "de woningcorporaties", "de energiecoöperaties"],
        facts: &[
            "in {R} [ruim|bijna] {n} bedrijven en instellingen op een zwaardere stroomaansluiting wachten",
            "{x} huishoudens in {P} in een woning met een slecht energielabel woont",
            "de vaste kosten op de energierekening sinds {y} met {%} zijn gestegen",
            "van het fonds voor isolatie eind {y} nog {m} niet was besteed",
            "de bouw van een nieuw transformatorstation bij {P} [{k} jaar duurt|{k} jaar vertraging heeft opgelopen]",
        ],
        considerations: &[
            "{G} anders dreigen te moeten betalen voor vertragingen waar zij niets aan kunnen doen",
            "het beter benutten van het bestaande net buiten de piekuren op korte termijn ruimte kan geven",
            "opslag in batterijen en warmte [pieken op het net kan opvangen|lokaal opgewekte stroom bruikbaar houdt]",
            "isolatie de goedkoopste manier is om zowel de uitstoot als de energierekening te verlagen",
            "het draagvlak voor wind- en zonneparken rond {P} groeit als omwonenden meedelen in de opbrengst",
        ],
        requests: &[
            (
                "voorrang voor scholen en woningen op het stroomnet",
                "te borgen dat scholen, zorginstellingen en woningen in {R} voorrang krijgen bij schaarste op het stroomnet",
            ),
            (
                "een versnelde aanpak van slecht geïsoleerde woningen",
                "te komen tot een versnelde aanpak waardoor in {R} jaarlijks {n} woningen met een slecht energielabel worden geïsoleerd",
            ),
            (
                "mede-eigendom van omwonenden bij zonneparken",
                "te bevorderen dat omwonenden bij nieuwe zonne- en windparken voor ten minste {%} mede-eigenaar kunnen worden",
            ),
            (
                "kortere procedures voor transformatorstations bij {P}",
                "de procedures voor de bouw van transformatorstations bij {P} en {Q} met {k} maanden te verkorten",
            ),
            ("steun voor lokale energieopslag", "een regeling uit te werken voor lokale energieopslag door {G}, met een budget van {m}"),
        ],
    },
    Topic {
        name: "natuur en dieren",
        abroad: false,
        dossiers: &[("33 037", "Natuurbeleid en biodiversiteit"), ("28 286", "Welzijn van dieren")],
        subjects: &["de bescherming van weidevogels", "het welzijn van dieren in de veehouderij", "het beheer van natuurgebieden"],
        groups: &["boswachters", "dierenartsen", "vrijwillige natuurbeheerders", "veehouders"],
        organisations: &["de terreinbeheerders", "de dierenbescherming", "de veehouders", "de jagersverenigingen", "de provincies"],
        facts: &[
            "het aantal broedparen van weidevogels in {R} sinds {y} met {%} is afgenomen",
            "bij controles op diertransporten in {y} in {%} van de gevallen een overtreding is vastgesteld",
            "in {P} en omgeving {n} hectare bos is aangetast door [droogte|ziekten en plagen]",
            "[ruim|ongeveer] {n} dieren zijn omgekomen bij stalbranden in {y}",
            "het aantal meldingen van dierenleed in {k} jaar tijd is verdubbeld, terwijl het aantal inspecteurs gelijk is gebleven",
        ],
        considerations: &[
            "dieren wezens met gevoel zijn en daarom bescherming verdienen",
            "een rijke natuur van belang is voor [schoon water|bestuiving van gewassen|het welzijn van mensen] in {R}",
            "boeren die aan natuurbeheer doen zekerheid voor langere tijd nodig hebben",
            "natuurgebieden rond {P} en {Q} nu te versnipperd zijn om soorten te laten overleven",
            "preventieve maatregelen tegen stalbranden bekend zijn, maar nog lang niet overal worden toegepast",
        ],
        requests: &[
            (
                "het herstel van weidevogelgebieden in {R}",
                "met een herstelplan voor weidevogelgebieden in {R} te komen, met doelen voor het waterpeil en het maaibeheer",
            ),
            (
                "strengere eisen aan brandveiligheid van stallen",
                "strengere eisen aan de brandveiligheid van bestaande stallen voor te bereiden, die uiterlijk in {Y} gelden",
            ),
            ("meer inspecteurs voor dierenwelzijn", "het aantal inspecteurs dat toeziet op dierenwelzijn met {%} uit te breiden"),
            (
                "een natuurverbinding tussen {P} en {Q}",
                "de aanleg van een natuurverbinding tussen {P} en {Q} op te nemen in de plannen voor de komende {k} jaar",
            ),
            (
                "het beperken van lange diertransporten",
                "zich in Europa in te zetten voor een maximale duur van {k} uur voor het vervoer van levende dieren",
            ),
        ],
    },
];
