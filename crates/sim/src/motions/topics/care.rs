//! Topics about health and care.

use super::Topic;

pub(super) const TOPICS: &[Topic] = &[
    Topic {
        name: "zorg",
        abroad: false,
        dossiers: &[
            ("31 765", "Kwaliteit en bereikbaarheid van zorg"),
            ("29 247", "Acute zorg in de regio"),
            ("36 600 XVI", "Begroting voor volksgezondheid en sport"),
        ],
        subjects: &["de bereikbaarheid van acute zorg", "de wachtlijsten in de zorg", "de samenwerking tussen ziekenhuizen"],
        groups: &["patiënten", "kwetsbare patiënten", "chronisch zieken", "zwangere vrouwen"],
        organisations: &[
            "de zorgverzekeraars",
            "de ziekenhuizen",
            "de huisartsen",
            "de patiëntenverenigingen",
            "de beroepsverenigingen in de zorg",
        ],
        facts: &[
            "de spoedeisende hulp in {P} in {y} [{k} weken gesloten was voor nieuwe patiënten|{k} maanden lang geregeld een opnamestop had]",
            "de wachttijd voor een eerste bezoek aan een specialist in {R} is opgelopen tot {k} maanden",
            "[ruim|ongeveer] {N} mensen geen vaste huisarts hebben en dat aantal in {R} het snelst groeit",
            "{%} van de verpleegkundigen in {R} aangeeft binnen {k} jaar een andere baan te zoeken vanwege de [werkdruk|administratieve lasten]",
            "inwoners van {P} na de sluiting van de polikliniek [gemiddeld {k} kwartier langer onderweg zijn|zijn aangewezen op een ziekenhuis in {Q}]",
        ],
        considerations: &[
            "zorg dichtbij voor {G} van groot belang is, juist buiten de grote steden",
            "besluiten over het sluiten van afdelingen grote gevolgen hebben voor [de ambulancezorg|huisartsenposten in de omgeving|inwoners van {R}]",
            "minder verplichte registratie tijd vrijmaakt die zorgverleners aan {G} kunnen besteden",
            "samenwerking tussen ziekenhuizen in {P} en {Q} kan voorkomen dat bijzondere zorg geheel uit de regio verdwijnt",
            "[preventie|vroege signalering] op termijn goedkoper is dan behandeling, maar in de bekostiging weinig beloond wordt",
        ],
        requests: &[
            (
                "het openhouden van de spoedeisende hulp in {P}",
                "zich ervoor in te spannen dat de spoedeisende hulp in {P} ten minste tot {Y} volledig open blijft",
            ),
            (
                "minder registratielast voor zorgverleners",
                "een voorstel te doen om de tijd die zorgverleners aan registratie kwijt zijn voor {Y} met {%} te verlagen",
            ),
            (
                "een vaste huisarts voor iedere inwoner van {R}",
                "met een aanpak te komen waardoor iedere inwoner van {R} zich binnen {k} weken bij een huisarts kan inschrijven",
            ),
            (
                "inspraak bij het sluiten van ziekenhuisafdelingen",
                "vast te leggen dat inwoners en gemeenten worden gehoord voordat een ziekenhuis een afdeling voor {G} sluit",
            ),
            (
                "het terugdringen van wachttijden voor {G}",
                "een doel en een tijdpad vast te stellen voor het terugdringen van de wachttijden voor {G}, met een jaarlijkse meting per regio",
            ),
        ],
    },
    Topic {
        name: "ouderenzorg",
        abroad: false,
        dossiers: &[("31 769", "Zorg voor ouderen en langdurige zorg"), ("29 389", "Ouder worden in Nederland")],
        subjects: &["de zorg voor ouderen thuis", "het aantal plekken in verpleeghuizen", "de ondersteuning van mantelzorgers"],
        groups: &["ouderen", "alleenstaande ouderen", "mensen met dementie", "ouderen met een kleine beurs"],
        organisations: &["de zorgkantoren", "de ouderenbonden", "de VNG", "de thuiszorgorganisaties", "de woningcorporaties"],
        facts: &[
            "op de wachtlijst voor een verpleeghuis in {R} [inmiddels|eind {y}] {n} mensen stonden",
            "{x} mantelzorgers zich zwaar belast voelt en in {P} [nauwelijks|geen] tijdelijke opvang beschikbaar is",
            "tot {Y} naar verwachting {N} geschikte woningen voor ouderen nodig zijn, terwijl er jaarlijks slechts {n} bij komen",
            "het aantal mensen met dementie in {R} de komende {k} jaar met {%} toeneemt",
            "thuiszorgorganisaties in {P} en {Q} sinds {y} vaker [cliënten moeten weigeren|uren moeten inkorten] door een tekort aan personeel",
        ],
        considerations: &[
            "{G} graag zo lang mogelijk zelfstandig blijven wonen, maar dat alleen kan met voldoende hulp in de buurt",
            "een tussenvorm tussen thuis en verpleeghuis, zoals een [woonzorgcomplex|geclusterde woonvorm], eenzaamheid tegengaat",
            "mantelzorgers die uitvallen op hun beurt een beroep op de zorg doen",
            "hulpmiddelen en zorg op afstand het werk van wijkverpleegkundigen kunnen verlichten, mits {G} daarbij goed worden begeleid",
            "gemeenten en zorgkantoren nu vaak naar elkaar verwijzen, waardoor {G} tussen wal en schip raken",
        ],
        requests: &[
            (
                "meer geclusterde woonvormen voor {G}",
                "te komen tot {n} extra plekken in geclusterde woonvormen voor {G}, te beginnen in {R}",
            ),
            (
                "tijdelijke opvang om mantelzorgers te ontlasten",
                "te bevorderen dat in iedere regio voldoende logeerplekken zijn, zodat mantelzorgers ten minste {k} weken per jaar op adem kunnen komen",
            ),
            (
                "een vast aanspreekpunt voor {G}",
                "uit te werken hoe {G} in iedere gemeente een vast aanspreekpunt kunnen krijgen voor vragen over zorg, wonen en welzijn",
            ),
            (
                "een actieplan voor dementievriendelijke gemeenten",
                "een actieplan op te stellen waarmee gemeenten zoals {P} hun wijken en voorzieningen geschikt maken voor mensen met dementie",
            ),
            (
                "behoud van verpleeghuisplekken in {R}",
                "het aantal verpleeghuisplekken in {R} tot {Y} niet te laten dalen zolang de wachtlijst langer is dan {k} maanden",
            ),
        ],
    },
    Topic {
        name: "jeugdzorg",
        abroad: false,
        dossiers: &[("31 839", "Hulp aan jeugd en gezin"), ("36 546", "Betere beschikbaarheid van jeugdhulp")],
        subjects: &["de hulp aan kwetsbare jongeren", "de wachttijden in de jeugdzorg", "het terugdringen van uithuisplaatsingen"],
        groups: &["jongeren", "kwetsbare jongeren", "jongeren en hun ouders", "gezinnen"],
        organisations: &["de jeugdregio's", "de VNG", "de jeugdhulpaanbieders", "de pleegzorgorganisaties", "de kinderrechters"],
        facts: &[
            "jongeren met een zware hulpvraag in {R} gemiddeld {k} maanden op passende hulp wachten",
            "het aantal gesloten plaatsingen in {y} [met {%} is gedaald|niet verder is gedaald], terwijl kleinschalige alternatieven ontbreken",
            "{n} kinderen op de wachtlijst voor een pleeggezin staan en in {y} {%} minder nieuwe gezinnen zich hebben aangemeld",
            "gemeenten in {R} met {k} verschillende contracten voor dezelfde vorm van hulp werken",
            "{x} ouders in een peiling aangeeft het vertrouwen in de hulpverlening [deels|helemaal] te zijn kwijtgeraakt",
        ],
        considerations: &[
            "hulp die te laat komt vaak leidt tot zwaardere problemen en hogere kosten",
            "{G} gebaat zijn bij [een vaste hulpverlener|continuïteit] in plaats van telkens een nieuw gezicht",
            "kleine gemeenten de inkoop van gespecialiseerde hulp niet alleen kunnen dragen",
            "school, huisarts en wijkteam samen vaak kunnen voorkomen dat {G} gespecialiseerde hulp nodig hebben",
            "de stem van {G} zelf bij besluiten over hun toekomst te weinig wordt gehoord",
        ],
        requests: &[
            (
                "kortere wachttijden voor jongeren met een zware hulpvraag",
                "een maximale wachttijd van {k} weken voor jongeren met een zware hulpvraag als norm vast te leggen",
            ),
            (
                "betere ondersteuning van pleeggezinnen",
                "de ondersteuning van pleeggezinnen te verbeteren, onder meer met {m} voor begeleiding en tijdelijke opvang",
            ),
            (
                "kleinschalige woonvormen in {R}",
                "te zorgen dat in {R} voor {Y} voldoende kleinschalige woonvormen beschikbaar zijn als alternatief voor gesloten plaatsing",
            ),
            (
                "eenvoudiger contracten in de jeugdhulp",
                "te bevorderen dat gemeenten en aanbieders overstappen op standaardcontracten, zodat de administratieve lasten met {%} dalen",
            ),
            (
                "het structureel betrekken van {G} bij beleid",
                "te borgen dat {G} bij iedere wijziging in de jeugdhulp worden gehoord en dat zichtbaar is wat met hun inbreng is gedaan",
            ),
        ],
    },
    Topic {
        name: "preventie",
        abroad: false,
        dossiers: &[("32 793", "Gezond leven en preventie"), ("30 196", "Voeding en gezonde keuzes")],
        subjects: &["een gezonde leefomgeving", "gezonde voeding voor kinderen", "de verkoop van vapes aan jongeren"],
        groups: &["kinderen", "jongeren", "mensen met een laag inkomen", "schoolgaande tieners"],
        organisations: &["de GGD'en", "de supermarkten", "de schoolbesturen", "de gezondheidsfondsen", "de sportverenigingen"],
        facts: &[
            "{%} van de jongeren tussen 12 en 16 jaar weleens een vape heeft gebruikt, tegen {%} in {y}",
            "in sommige wijken van {P} [{k} keer zoveel fastfoodzaken als groentewinkels zijn|overgewicht {k} keer zo vaak voorkomt als elders]",
            "mensen met een lage opleiding gemiddeld {k} jaar [korter leven|korter in goede gezondheid leven] dan hoogopgeleiden",
            "{x} kinderen in {R} zonder ontbijt naar school gaat",
            "van de aanbiedingen in folders {%} betrekking heeft op producten die niet in een gezond eetpatroon passen",
        ],
        considerations: &[
            "{G} extra gevoelig zijn voor [reclame|kleurige verpakkingen en zoete smaken]",
            "gezonde keuzes makkelijker worden wanneer het aanbod in [winkels, kantines en sportclubs|de directe omgeving] daarop is ingericht",
            "verschillen in gezondheid tussen wijken in {P} niet vanzelf verdwijnen",
            "scholen wel willen bijdragen aan een gezonde leefstijl, maar daarvoor geen vaste middelen hebben",
            "afspraken op basis van vrijwilligheid in de afgelopen {k} jaar onvoldoende hebben opgeleverd",
        ],
        requests: &[
            (
                "strengere handhaving op de verkoop van vapes",
                "de handhaving op de verkoop van vapes aan {G} te versterken en de boetes bij herhaalde overtreding met {%} te verhogen",
            ),
            (
                "schoolontbijten in {P} en andere gemeenten",
                "het aanbod van schoolontbijten tot {Y} voort te zetten en daarbij gemeenten als {P} met de grootste achterstand voorrang te geven",
            ),
            (
                "de mogelijkheid om fastfoodzaken rond scholen te weren",
                "gemeenten de bevoegdheid te geven om nieuwe fastfoodzaken in de omgeving van scholen te weigeren",
            ),
            (
                "een gezond aanbod in sportkantines",
                "een stimuleringsregeling van {m} uit te werken voor een gezonder aanbod in sportkantines",
            ),
            (
                "een meetbaar doel voor gezondheidsverschillen",
                "een meetbaar doel te stellen voor het verkleinen van gezondheidsverschillen in {R}, en de voortgang jaarlijks te publiceren",
            ),
        ],
    },
];
