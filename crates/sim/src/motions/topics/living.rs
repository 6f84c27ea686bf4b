//! Topics about housing, space and getting around.

use super::Topic;

pub(super) const TOPICS: &[Topic] = &[
    Topic {
        name: "wonen",
        abroad: false,
        dossiers: &[
            ("32 914", "Woningbouw en woningmarkt"),
            ("36 571", "Regels over de verdeling van schaarse woonruimte"),
            ("36 600 XXII", "Begroting voor wonen en ruimtelijke ordening"),
        ],
        subjects: &["de bouw van betaalbare woningen", "het aanbod van huurwoningen", "de doorstroming op de woningmarkt"],
        groups: &["starters", "woningzoekenden", "huurders met een middeninkomen", "jonge gezinnen"],
        organisations: &["de woningcorporaties", "de VNG", "de bouwbedrijven", "de huurdersverenigingen", "de provincies"],
        facts: &[
            "in {P} en omgeving naar schatting {n} [betaalbare woningen|sociale huurwoningen|koopwoningen voor starters] ontbreken",
            "de gemiddelde wachttijd voor een sociale huurwoning in {P} is opgelopen tot [ruim|bijna|meer dan] {k} jaar",
            "{x} huurders met een laag inkomen meer dan {%} van het besteedbare inkomen kwijt is aan [huur en energie|vaste woonlasten]",
            "van de {N} geplande woningen in {R} eind {y} pas {%} daadwerkelijk in aanbouw was",
            "[door stijgende bouwkosten|door personeelstekorten bij gemeenten|door trage procedures] in {y} {%} minder bouwvergunningen voor nieuwe woningen zijn verleend dan een jaar eerder",
        ],
        considerations: &[
            "een betaalbare woning voor {G} een voorwaarde is om [een zelfstandig bestaan op te bouwen|een gezin te stichten|dicht bij het werk te kunnen wonen]",
            "flexwoningen en het splitsen van bestaande woningen op korte termijn verlichting kunnen bieden, mits gemeenten daarvoor voldoende locaties aanwijzen",
            "onzekerheid over [subsidies|de regels voor huurprijzen|de aansluiting op het stroomnet] ertoe leidt dat bouwprojecten in {P} en {Q} worden uitgesteld",
            "leegstaande kantoren en winkels tegen beperkte kosten geschikt kunnen worden gemaakt voor bewoning door {G}",
            "een gemengde wijk, met [huur en koop door elkaar|woningen voor jong en oud], bijdraagt aan de leefbaarheid van steden en dorpen",
        ],
        requests: &[
            (
                "het versneld plaatsen van flexwoningen in {R}",
                "te bevorderen dat in {R} nog voor {Y} ten minste {n} flexwoningen voor {G} worden geplaatst",
            ),
            (
                "een landelijk overzicht van leegstaand vastgoed",
                "een openbaar overzicht te laten maken van leegstaand vastgoed dat binnen {k} jaar kan worden omgebouwd tot woonruimte",
            ),
            (
                "het inkorten van procedures bij woningbouw",
                "te onderzoeken hoe de doorlooptijd van beroepsprocedures bij woningbouwprojecten met ten minste {%} kan worden verkort, zonder de rechtsbescherming van omwonenden aan te tasten",
            ),
            (
                "meer betaalbare koopwoningen voor {G}",
                "afspraken te maken over een vast aandeel van {%} betaalbare koopwoningen in nieuwe plannen, zodat {G} een eerlijke kans krijgen",
            ),
            (
                "een aanjaagteam voor vastgelopen bouwprojecten in {P}",
                "een aanjaagteam in te stellen dat vastgelopen bouwprojecten in {P} en vergelijkbare gemeenten weer op gang helpt",
            ),
        ],
    },
    Topic {
        name: "spoor",
        abroad: false,
        dossiers: &[
            ("29 984", "Spoor: vervoer en beheer"),
            ("36 600 A", "Begroting van het fonds voor mobiliteit"),
            ("23 688", "Openbaar vervoer in de regio"),
        ],
        subjects: &["de bereikbaarheid per trein en bus", "het regionale openbaar vervoer", "de prijs van een treinkaartje"],
        groups: &["reizigers", "forenzen", "scholieren en studenten", "reizigers met een beperking"],
        organisations: &["de vervoerders", "de spoorbeheerder", "de reizigersorganisaties", "de provincies", "de vervoerregio's"],
        facts: &[
            "sinds {y} [{k} buslijnen rond {P} zijn geschrapt|het aantal bushaltes rond {P} met {%} is gedaald]",
            "op het traject tussen {P} en {Q} in {y} [ruim|bijna] {n} treinen zijn uitgevallen",
            "een treinkaartje in {k} jaar tijd {%} duurder is geworden, terwijl de kosten van autorijden minder hard zijn gestegen",
            "slechts {%} van de stations in {R} volledig toegankelijk is voor [reizigers met een rolstoel|blinde en slechtziende reizigers]",
            "voor onderhoud aan het spoor tot {Y} een tekort van {m} wordt voorzien",
        ],
        considerations: &[
            "een betrouwbare verbinding tussen {P} en {Q} van belang is voor [werk, school en zorg|de economie van {R}|de verdere woningbouw in {R}]",
            "{G} die niet over een auto beschikken, volledig afhankelijk zijn van trein en bus",
            "uitstel van onderhoud op termijn leidt tot [meer storingen en hogere kosten|langdurige stremmingen]",
            "hogere tarieven ertoe leiden dat {G} de auto nemen, met extra files en uitstoot tot gevolg",
            "deelvervoer en belbussen een goede aanvulling kunnen zijn, maar een vaste lijndienst niet kunnen vervangen",
        ],
        requests: &[
            (
                "het behoud van buslijnen in {R}",
                "te voorkomen dat de komende {k} jaar nog meer buslijnen in {R} verdwijnen, en daarvoor een bodemnorm voor bereikbaarheid uit te werken",
            ),
            (
                "een snellere treinverbinding tussen {P} en {Q}",
                "te verkennen welke maatregelen nodig zijn om de reistijd per trein tussen {P} en {Q} met {k} minuten te bekorten",
            ),
            (
                "het sneller toegankelijk maken van stations",
                "de planning voor het toegankelijk maken van stations te versnellen, met voorrang voor stations in {R} die door veel {G} worden gebruikt",
            ),
            (
                "een daluurkaart voor {G}",
                "de mogelijkheid uit te werken van een voordelige daluurkaart voor {G}, en daarbij de kosten en de verwachte toename van het aantal reizigers in beeld te brengen",
            ),
            (
                "voorrang voor achterstallig onderhoud aan het spoor",
                "bij de verdeling van middelen voorrang te geven aan achterstallig onderhoud op drukke trajecten, waaronder {P}-{Q}",
            ),
        ],
    },
    Topic {
        name: "verkeersveiligheid",
        abroad: false,
        dossiers: &[("29 411", "Veiligheid in het wegverkeer"), ("31 317", "Aanpak van rijkswegen en knelpunten")],
        subjects: &["de verkeersveiligheid op provinciale wegen", "veilige fietsroutes", "de handhaving op de weg"],
        groups: &["fietsers", "schoolkinderen", "oudere weggebruikers", "voetgangers"],
        organisations: &["de wegbeheerders", "de politie", "de fietsersverenigingen", "de veiligheidsregio's", "de VNG"],
        facts: &[
            "het aantal ernstig gewonde {G} in {R} sinds {y} met {%} is toegenomen",
            "op de weg tussen {P} en {Q} in {k} jaar tijd {n} ongevallen zijn geregistreerd",
            "{x} automobilisten toegeeft achter het stuur [weleens een bericht te typen|de telefoon te gebruiken]",
            "[bijna|meer dan] {%} van de provinciale wegen nog geen [gescheiden fietspad|veilige berm|veilige oversteek] heeft",
            "de pakkans voor te hard rijden in {R} sinds {y} is [gedaald|gehalveerd] door een tekort aan controles",
        ],
        considerations: &[
            "ieder verkeersslachtoffer er een te veel is en {G} het kwetsbaarst zijn",
            "een lagere snelheid binnen de bebouwde kom het aantal slachtoffers aantoonbaar vermindert",
            "gemeenten zoals {P} en {Q} wel willen investeren in veilige kruispunten, maar de middelen daarvoor missen",
            "kinderen vaker met de fiets naar school gaan als de route [overzichtelijk en verlicht|vrij van zwaar verkeer] is",
            "techniek in de auto kan helpen, maar een veilige inrichting van de weg niet overbodig maakt",
        ],
        requests: &[
            (
                "veilige schoolroutes in {P} en andere gemeenten",
                "een regeling voor te bereiden waarmee gemeenten als {P} de routes naar scholen veiliger kunnen inrichten, met een bijdrage van {m}",
            ),
            (
                "de aanpak van gevaarlijke kruispunten tussen {P} en {Q}",
                "de gevaarlijkste kruispunten tussen {P} en {Q} in kaart te brengen en voor {Y} met verbeteringen te beginnen",
            ),
            (
                "een hogere pakkans bij afleiding in het verkeer",
                "te zorgen voor meer controles op telefoongebruik achter het stuur en daarvoor ook slimme camera's in te zetten",
            ),
            (
                "betere gegevens over ongevallen met {G}",
                "de registratie van ongevallen met {G} te verbeteren, zodat gegevens van ambulances en ziekenhuizen worden meegeteld",
            ),
            (
                "een lagere snelheid op onveilige provinciale wegen",
                "te bevorderen dat wegbeheerders de maximumsnelheid verlagen op wegen in {R} waar het aantal ongevallen boven het landelijk gemiddelde ligt",
            ),
        ],
    },
    Topic {
        name: "luchtvaart",
        abroad: false,
        dossiers: &[("31 942", "Luchtvaart en luchthavens"), ("29 671", "Leefomgeving rond luchthavens")],
        subjects: &["de hinder door vliegverkeer", "het aantal nachtvluchten", "de toekomst van regionale luchthavens"],
        groups: &["omwonenden", "gezinnen onder aanvliegroutes", "bewoners rond luchthavens", "inwoners van randgemeenten"],
        organisations: &["de luchthavens", "de luchtverkeersleiding", "de bewonersgroepen", "de luchtvaartmaatschappijen", "de provincies"],
        facts: &[
            "in de omgeving van {P} [ruim|naar schatting] {N} mensen ernstige geluidshinder ondervinden van vliegverkeer",
            "het aantal klachten over nachtvluchten in {y} met {%} is gestegen ten opzichte van een jaar eerder",
            "slechts {%} van de vliegtuigen op de regionale luchthaven tot de stilste categorie behoort",
            "de metingen van ultrafijnstof rond {P} sinds {y} [{k} keer de advieswaarde lieten zien|boven de advieswaarde liggen]",
            "reizigers voor een treinreis naar {k} grote Europese steden meer betalen dan voor een vlucht",
        ],
        considerations: &[
            "langdurige blootstelling aan nachtelijk geluid [de gezondheid van {G} schaadt|leidt tot slaapgebrek en hartklachten]",
            "{G} recht hebben op heldere normen en op handhaving wanneer die worden overschreden",
            "een goede internationale bereikbaarheid van belang blijft voor [de werkgelegenheid|bedrijven] in {R}",
            "stillere en schonere toestellen alleen worden ingezet als daar een [duidelijke prikkel|verplichting] tegenover staat",
            "besluiten over vliegroutes draagvlak missen als {G} pas achteraf worden gehoord",
        ],
        requests: &[
            (
                "minder nachtvluchten boven {R}",
                "een plan op te stellen om het aantal nachtvluchten boven {R} tot {Y} stapsgewijs met {%} te verminderen",
            ),
            (
                "het meten van ultrafijnstof rond {P}",
                "een vast meetnet voor ultrafijnstof rond {P} in te richten en de resultaten elk kwartaal openbaar te maken",
            ),
            (
                "het vroegtijdig betrekken van {G} bij vliegroutes",
                "te borgen dat {G} ten minste {k} maanden voor een wijziging van vliegroutes worden geraadpleegd",
            ),
            (
                "een tariefvoordeel voor stille vliegtuigen",
                "te bevorderen dat luchthavens hun tarieven sterker laten afhangen van geluid en uitstoot",
            ),
            (
                "betere treinverbindingen als alternatief voor korte vluchten",
                "te inventariseren welke vluchten korter dan {k} uur door een rechtstreekse trein kunnen worden vervangen",
            ),
        ],
    },
];
