//! Topics about justice, safety, administration and technology.

use super::Topic;

pub(super) const TOPICS: &[Topic] = &[
    Topic {
        name: "politie",
        abroad: false,
        dossiers: &[
            ("29 628", "Politie"),
            ("29 911", "Bestrijding van ondermijnende criminaliteit"),
            ("28 684", "Naar een veiliger samenleving"),
        ],
        subjects: &["de sterkte van de politie", "de aanpak van ondermijning", "de veiligheid in wijken"],
        groups: &["slachtoffers", "ondernemers", "bewoners van kwetsbare wijken", "slachtoffers van geweld"],
        organisations: &["de politie", "het openbaar ministerie", "de burgemeesters", "de politievakbonden", "de havenbedrijven"],
        facts: &[
            "in {R} [{n} politiebanen onvervuld zijn|per wijkagent {n} inwoners meer zijn dan afgesproken]",
            "het politiebureau in {P} sinds {y} nog maar {k} dagen per week open is",
            "{%} van de aangiften van [internetoplichting|fietsdiefstal|bedreiging] zonder onderzoek wordt weggelegd",
            "in {y} {n} explosies bij woningen en winkels hebben plaatsgevonden, waarvan een groot deel in {P} en {Q}",
            "{x} slachtoffers van een geweldsmisdrijf niets meer hoort na het doen van aangifte",
        ],
        considerations: &[
            "een herkenbare wijkagent bijdraagt aan het vertrouwen van inwoners in de rechtsstaat",
            "jongeren in {P} steeds vaker via [sociale media|straatgroepen] worden verleid tot criminaliteit",
            "{G} moeten kunnen rekenen op een overheid die hen beschermt",
            "het platteland van {R} kwetsbaar is voor drugslabs en [het dumpen van afval|intimidatie van eigenaren van schuren]",
            "preventie en repressie elkaar nodig hebben om ondermijning terug te dringen",
        ],
        requests: &[
            ("meer wijkagenten in {R}", "te zorgen dat het aantal wijkagenten in {R} voor {Y} met {%} is toegenomen"),
            (
                "het openhouden van politiebureaus in {P}",
                "te voorkomen dat politiebureaus in {P} en vergelijkbare gemeenten verder sluiten",
            ),
            (
                "de aanpak van explosies bij woningen",
                "een landelijk actieplan tegen explosies bij woningen op te stellen en de handel in zwaar vuurwerk harder aan te pakken",
            ),
            (
                "betere terugkoppeling aan {G}",
                "te regelen dat {G} binnen {k} weken bericht krijgen over wat met hun melding of aangifte is gedaan",
            ),
            (
                "preventie onder jongeren in {P}",
                "de aanpak waarmee jongeren in {P} uit de criminaliteit worden gehouden tot {Y} te verlengen met {m}",
            ),
        ],
    },
    Topic {
        name: "rechtspraak",
        abroad: false,
        dossiers: &[("29 279", "Rechtsstaat en rechtsorde"), ("31 753", "Rechtsbijstand"), ("24 587", "Gevangeniswezen")],
        subjects: &["de toegang tot het recht", "de doorlooptijden in de strafrechtketen", "het tekort aan celcapaciteit"],
        groups: &["rechtzoekenden", "slachtoffers", "nabestaanden", "slachtoffers en hun families"],
        organisations: &["de rechtspraak", "het openbaar ministerie", "de advocatuur", "de reclassering", "de rechtsbijstandsraden"],
        facts: &[
            "een strafzaak over een ernstig misdrijf gemiddeld {k} maanden langer duurt dan de norm",
            "het aantal sociaal advocaten in {R} sinds {y} met {%} is gedaald",
            "de rechtbank in {P} in {y} {n} zittingen heeft moeten uitstellen door een tekort aan [rechters|griffiers|beveiligers]",
            "{n} veroordeelden op vrije voeten zijn omdat er geen cel beschikbaar is",
            "{x} mensen met een juridisch probleem afziet van hulp vanwege de kosten",
        ],
        considerations: &[
            "recht dat te laat komt door {G} niet als recht wordt ervaren",
            "de overheid zelf te vaak doorprocedeert tegen [burgers|kleine ondernemers] met een beperkt belang",
            "een goede terugkeer in de samenleving de kans op herhaling verkleint",
            "toegang tot een advocaat niet mag afhangen van de plaats waar {G} wonen",
            "eenvoudige geschillen in {P} beter dicht bij huis door een wijkrechter kunnen worden opgelost",
        ],
        requests: &[
            (
                "kortere doorlooptijden voor {G}",
                "een verbeterplan op te stellen waarmee de doorlooptijden voor {G} voor {Y} weer binnen de norm komen",
            ),
            (
                "meer sociaal advocaten in {R}",
                "te bevorderen dat voldoende sociaal advocaten in {R} werkzaam blijven, onder meer met {m} voor de opleiding van nieuwe advocaten",
            ),
            ("een wijkrechter in {P}", "een proef met een wijkrechter in {P} mogelijk te maken voor een periode van {k} jaar"),
            (
                "minder procederen door de overheid",
                "vast te leggen dat de overheid bij een belang onder {n} euro in beginsel niet in hoger beroep gaat",
            ),
            (
                "alternatieven voor korte celstraffen",
                "te onderzoeken in welke gevallen een korte celstraf door elektronisch toezicht kan worden vervangen",
            ),
        ],
    },
    Topic {
        name: "digitalisering",
        abroad: false,
        dossiers: &[
            ("26 643", "Digitale overheid en informatiebeveiliging"),
            ("36 360", "Toezicht op algoritmen"),
            ("32 761", "Bescherming van persoonsgegevens"),
        ],
        subjects: &["het gebruik van algoritmen door de overheid", "de digitale weerbaarheid", "de bescherming van kinderen online"],
        groups: &["burgers", "minderjarigen", "mensen met weinig digitale vaardigheden", "ouderen"],
        organisations: &["de toezichthouders", "de gemeenten", "de platformbedrijven", "de bibliotheken", "de uitvoeringsorganisaties"],
        facts: &[
            "slechts {%} van de algoritmen die de overheid gebruikt in het openbare register is opgenomen",
            "{x} volwassenen moeite heeft met [het aanvragen van een vergunning|inloggen bij de overheid] via internet",
            "in {y} {n} organisaties door gijzelsoftware zijn getroffen, waaronder een instelling in {P}",
            "{%} van de overheidsgegevens bij {k} buitenlandse aanbieders is opgeslagen",
            "kinderen gemiddeld {k} uur per dag op een scherm kijken en {x} van hen met schadelijke beelden in aanraking komt",
        ],
        considerations: &[
            "{G} moeten kunnen begrijpen hoe een besluit over hen tot stand komt",
            "een overheid die alleen digitaal bereikbaar is mensen [uitsluit|op achterstand zet]",
            "afhankelijkheid van enkele grote aanbieders de zeggenschap over gegevens van {G} aantast",
            "kunstmatige intelligentie kansen biedt, mits een mens verantwoordelijk blijft voor de uitkomst",
            "kleine gemeenten zoals {P} niet zelf alle kennis over beveiliging in huis kunnen hebben",
        ],
        requests: &[
            (
                "een volledig algoritmeregister",
                "te regelen dat alle algoritmen met gevolgen voor {G} voor {Y} in het openbare register staan",
            ),
            ("behoud van loketten in {R}", "vast te leggen dat {G} in {R} ook zonder computer bij de overheid terechtkunnen"),
            (
                "minder afhankelijkheid van buitenlandse aanbieders",
                "een plan te maken waarmee ten minste {%} van de vitale overheidsgegevens voor {Y} bij Europese aanbieders staat",
            ),
            (
                "de bescherming van {G} tegen verslavend ontwerp",
                "zich in te zetten voor een verbod op verslavend ontwerp van apps die op {G} zijn gericht",
            ),
            (
                "hulp aan gemeenten bij cyberaanvallen",
                "een landelijk team in te richten dat gemeenten als {P} binnen {k} uur bijstaat na een cyberaanval",
            ),
        ],
    },
    Topic {
        name: "bestuur en regio",
        abroad: false,
        dossiers: &[("29 697", "Regionaal beleid"), ("36 600 VII", "Begroting voor binnenlandse zaken"), ("28 750", "Gemeentefinanciën")],
        subjects: &["de verdeling van middelen over de regio's", "de financiën van gemeenten", "de voorzieningen in kleine kernen"],
        groups: &["inwoners van krimpgebieden", "dorpsbewoners", "inwoners van kleine kernen", "jongeren in de regio"],
        organisations: &["de VNG", "de provincies", "de dorpsraden", "de waterschappen", "de regionale werkgevers"],
        facts: &[
            "{%} van de gemeenten voor {Y} een tekort op de begroting verwacht",
            "uit {P} in {k} jaar tijd {k} rijksdiensten zijn vertrokken",
            "in dorpen in {R} de afstand tot een [huisarts|geldautomaat|basisschool] sinds {y} met {%} is toegenomen",
            "{x} raadsleden in {y} te maken heeft gehad met bedreiging of intimidatie",
            "het aantal jongeren in {R} tot {Y} met {%} daalt",
        ],
        considerations: &[
            "iedere regio telt en {G} recht hebben op goede voorzieningen in de buurt",
            "gemeenten hun taken alleen goed kunnen uitvoeren als daar [voldoende|tijdig] geld tegenover staat",
            "het vertrek van rijksdiensten uit {P} het gevoel versterkt dat Den Haag ver weg is",
            "bewoners met een eigen plan voor hun dorp vaak [vastlopen in regels|geen aanspreekpunt vinden]",
            "een sterke lokale democratie vraagt om raadsleden die hun werk veilig kunnen doen",
        ],
        requests: &[
            (
                "een ondergrens voor voorzieningen in {R}",
                "een ondergrens uit te werken voor voorzieningen die in {R} binnen {k} kilometer bereikbaar moeten zijn",
            ),
            (
                "het vestigen van rijksdiensten in {P}",
                "te onderzoeken welke rijksdiensten met in totaal {n} banen in {P} of {Q} kunnen worden gevestigd",
            ),
            (
                "zekerheid over de financiën van gemeenten",
                "voor de jaren tot en met {Y} zekerheid te geven over de middelen voor gemeenten",
            ),
            (
                "de veiligheid van lokale bestuurders",
                "te voorzien in {m} voor de bescherming en ondersteuning van bedreigde raadsleden en wethouders",
            ),
            (
                "ruimte voor initiatieven van {G}",
                "een regelvrije zone in {R} mogelijk te maken waarin {G} zelf oplossingen kunnen beproeven",
            ),
        ],
    },
];
