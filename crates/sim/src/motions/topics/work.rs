//! Topics about work, income and the economy.

use super::Topic;

pub(super) const TOPICS: &[Topic] = &[
    Topic {
        name: "arbeidsmarkt",
        abroad: false,
        dossiers: &[("29 544", "Beleid voor de arbeidsmarkt"), ("29 861", "Arbeidsmigratie"), ("25 883", "Gezond en veilig werken")],
        subjects: &["de positie van flexwerkers", "misstanden bij arbeidsmigranten", "gezond en veilig werken"],
        groups: &["flexwerkers", "arbeidsmigranten", "werknemers met zwaar werk", "uitzendkrachten"],
        organisations: &["de vakbonden", "de werkgeversorganisaties", "de uitzendbureaus", "de arbeidsinspectie", "de gemeenten"],
        facts: &[
            "{x} werknemers in {R} een tijdelijk of onzeker contract heeft",
            "bij controles in {y} in {%} van de gevallen [onderbetaling|onveilige huisvesting|een te lange werkweek] is vastgesteld",
            "in {P} en omgeving {n} arbeidsmigranten op een adres wonen dat daarvoor niet is bestemd",
            "het ziekteverzuim door werkdruk sinds {y} met {%} is toegenomen",
            "de helft van de meldingen bij de inspectie pas na {k} maanden wordt opgepakt",
        ],
        considerations: &[
            "zekerheid over werk en inkomen voor {G} van belang is om [een huis te kunnen kopen|plannen te maken|rond te komen]",
            "werk en huisvesting niet van dezelfde baas afhankelijk zouden moeten zijn",
            "goede werkgevers last hebben van concurrenten die de regels ontduiken",
            "{G} hun rechten vaak niet kennen en niet durven te klagen uit angst om hun baan te verliezen",
            "mensen met zwaar werk niet zonder meer tot hun pensioen kunnen doorgaan",
        ],
        requests: &[
            (
                "betere bescherming van {G}",
                "voor {Y} met voorstellen te komen die de positie van {G} verbeteren, waaronder een snellere overgang naar een vast contract",
            ),
            (
                "het scheiden van werk en huisvesting",
                "vast te leggen dat een werknemer na het einde van een contract ten minste {k} weken in de woning kan blijven",
            ),
            ("uitbreiding van de arbeidsinspectie", "de arbeidsinspectie met {%} uit te breiden, met voorrang voor controles in {R}"),
            (
                "een aanpak van malafide uitzendbureaus rond {P}",
                "een gezamenlijke aanpak van malafide uitzendbureaus rond {P} op te zetten",
            ),
            (
                "eerder stoppen na zwaar werk",
                "samen met de sociale partners uit te werken hoe werknemers na {k} jaar zwaar werk eerder kunnen stoppen",
            ),
        ],
    },
    Topic {
        name: "armoede",
        abroad: false,
        dossiers: &[("24 515", "Preventie van armoede en schulden"), ("36 600 XV", "Begroting voor sociale zaken")],
        subjects: &["de aanpak van problematische schulden", "de armoede onder kinderen", "het niet-gebruik van regelingen"],
        groups: &["gezinnen met een laag inkomen", "mensen met schulden", "alleenstaande ouders", "jongeren met schulden"],
        organisations: &["de gemeenten", "de schuldhulpverleners", "de voedselbanken", "de deurwaarders", "de energiebedrijven"],
        facts: &[
            "naar schatting {N} huishoudens [problematische schulden|betalingsachterstanden] hebben",
            "{x} gezinnen in {P} geen gebruik maakt van regelingen waar het wel recht op heeft",
            "het aantal klanten van de voedselbank in {R} sinds {y} met {%} is gestegen",
            "een schuld van {n} euro door [boetes en rente|invorderingskosten] in {k} jaar kan verdubbelen",
            "de duur van een schuldhulptraject in {P} {k} maanden langer is dan in {Q}",
        ],
        considerations: &[
            "schulden leiden tot stress, waardoor {G} moeilijker uit de problemen komen",
            "een overheid die zelf schulden verergert [haar geloofwaardigheid verliest|het probleem groter maakt]",
            "kinderen niet de dupe mogen worden van de geldzorgen thuis",
            "de hulp voor {G} niet mag afhangen van de gemeente waarin zij wonen",
            "automatisch toekennen van regelingen veel formulieren en onzekerheid voorkomt",
        ],
        requests: &[
            (
                "het automatisch toekennen van regelingen",
                "te onderzoeken welke {k} regelingen voor {G} voor {Y} automatisch kunnen worden toegekend",
            ),
            (
                "het stoppen van oplopende boetes bij schulden",
                "te regelen dat boetes van de overheid niet verder oplopen zodra iemand zich voor schuldhulp meldt",
            ),
            ("een gelijke aanpak van schuldhulp in {R}", "te komen tot een basisniveau van schuldhulp in alle gemeenten in {R}"),
            ("vroege hulp aan {G}", "{m} vrij te maken om {G} binnen {k} weken na een eerste betalingsachterstand hulp te bieden"),
            (
                "de structurele steun aan voedselbanken",
                "zekerheid te geven over de steun aan voedselbanken in {P} en elders tot en met {Y}",
            ),
        ],
    },
    Topic {
        name: "belastingen",
        abroad: false,
        dossiers: &[
            ("32 140", "Herziening van het belastingstelsel"),
            ("31 066", "Dienstverlening van de belastingdienst"),
            ("36 602", "Belastingplan"),
        ],
        subjects: &["de vereenvoudiging van belastingen", "het stelsel van toeslagen", "het herstel van gedupeerden"],
        groups: &["belastingbetalers", "gedupeerde ouders", "kleine ondernemers", "werkenden met een middeninkomen"],
        organisations: &["de belastingdienst", "de accountants", "de ondernemersverenigingen", "de ouderpanels", "de gemeenten"],
        facts: &[
            "{N} gedupeerden nog altijd wachten op [een besluit|aanvullende compensatie] en de gemiddelde wachttijd {k} jaar is",
            "{x} huishoudens in {y} een toeslag geheel of gedeeltelijk moest terugbetalen",
            "werkenden van een extra verdiende euro in sommige gevallen slechts {%} overhouden",
            "de belastingtelefoon in {y} {%} van de bellers niet [in een keer kon helpen|te woord stond]",
            "het aantal aftrekposten en kortingen sinds {y} met {k} is toegenomen",
        ],
        considerations: &[
            "regelingen die te ingewikkeld zijn vooral {G} treffen",
            "werken moet lonen en {G} moeten kunnen overzien wat een loonsverhoging oplevert",
            "mensen die door de overheid zijn beschadigd recht hebben op [een snel besluit|persoonlijk contact|rust]",
            "iedere nieuwe uitzondering de uitvoering verder onder druk zet",
            "een balie in {P} voor {G} vaak meer oplost dan een brief of een website",
        ],
        requests: &[
            (
                "een eenvoudiger stelsel voor {G}",
                "uiterlijk in {Y} een voorstel voor een eenvoudiger stelsel te doen waarin {G} geen terugvorderingen meer krijgen",
            ),
            (
                "snellere hulp aan gedupeerden",
                "de afhandeling van aanvragen te versnellen, zodat gedupeerden binnen {k} maanden een besluit krijgen",
            ),
            (
                "het openhouden van belastingkantoren in {R}",
                "te zorgen dat mensen in {R} voor persoonlijke hulp met hun aangifte terechtkunnen op een bereikbare locatie",
            ),
            (
                "het schrappen van ondoelmatige regelingen",
                "van {k} fiscale regelingen die ondoelmatig zijn gebleken een afbouwpad te maken met een opbrengst van {m}",
            ),
            (
                "inzicht in de marginale druk",
                "bij ieder belastingplan inzichtelijk te maken wat de gevolgen zijn voor {G} die meer uren gaan werken",
            ),
        ],
    },
    Topic {
        name: "ondernemers",
        abroad: false,
        dossiers: &[("32 637", "Bedrijfsleven en ondernemerschap"), ("36 600 XIII", "Begroting voor economische zaken")],
        subjects: &[
            "de regeldruk voor het midden- en kleinbedrijf",
            "de leefbaarheid van winkelstraten",
            "de financiering van startende bedrijven",
        ],
        groups: &["winkeliers", "startende ondernemers", "familiebedrijven", "horecaondernemers"],
        organisations: &["de ondernemersverenigingen", "de kamers van koophandel", "de banken", "de gemeenten", "de brancheorganisaties"],
        facts: &[
            "in het centrum van {P} {%} van de winkels leegstaat",
            "een bakker of slager jaarlijks [ruim|ongeveer] {n} euro kwijt is aan het naleven van regels",
            "het aantal faillissementen in {R} in {y} met {%} is gestegen",
            "{x} aanvragen van kleine bedrijven voor een lening onder een ton wordt afgewezen",
            "winkeldiefstal de detailhandel in {y} naar schatting {m} heeft gekost",
        ],
        considerations: &[
            "het midden- en kleinbedrijf de motor is van de economie in {R}",
            "{G} minder tijd en geld hebben om nieuwe regels uit te zoeken dan grote bedrijven",
            "een levendig centrum in {P} ook [de veiligheid|de waarde van woningen|het contact tussen inwoners] ten goede komt",
            "bedrijven aan de grens bij {P} last hebben van verschillen in [accijnzen|belastingen] met de buurlanden",
            "{G} met een goed plan niet mogen stranden op het ontbreken van een kleine lening",
        ],
        requests: &[
            (
                "minder regeldruk voor {G}",
                "een reductiedoel van {%} voor de regeldruk van {G} vast te stellen en jaarlijks over de voortgang te berichten",
            ),
            (
                "een aanpak van leegstand in het centrum van {P}",
                "gemeenten als {P} te helpen bij het ombouwen van lege winkels tot woningen en werkplaatsen",
            ),
            ("toegang tot kleine leningen voor {G}", "te bevorderen dat {G} gemakkelijker een lening tot {N} euro kunnen krijgen"),
            (
                "de aanpak van winkeldiefstal",
                "een landelijke aanpak van winkeldiefstal op te zetten, waarin aangifte binnen {k} minuten online kan worden gedaan",
            ),
            ("een grenseffectentoets in {R}", "bij nieuwe lasten vooraf de gevolgen voor {G} in {R} te laten toetsen"),
        ],
    },
    Topic {
        name: "pensioen",
        abroad: false,
        dossiers: &[("32 043", "Toekomst van het pensioenstelsel"), ("36 067", "Overgang naar nieuwe pensioenregels")],
        subjects: &[
            "de overgang naar het nieuwe pensioenstelsel",
            "de koopkracht van gepensioneerden",
            "de witte vlek in de pensioenopbouw",
        ],
        groups: &["gepensioneerden", "deelnemers", "toekomstige gepensioneerden", "nabestaanden"],
        organisations: &["de pensioenfondsen", "de toezichthouders", "de ouderenbonden", "de vakbonden", "de werkgevers"],
        facts: &[
            "[ruim|bijna] {N} werknemers geen aanvullend pensioen opbouwen",
            "{%} van de deelnemers niet weet wat de nieuwe regels voor de eigen uitkering betekenen",
            "{k} pensioenfondsen hun overstap naar {Y} hebben verschoven",
            "de koopkracht van gepensioneerden sinds {y} met {%} is achtergebleven bij die van werkenden",
            "vrouwen gemiddeld {%} minder aanvullend pensioen ontvangen dan mannen",
        ],
        considerations: &[
            "een goed pensioen begint bij begrijpelijke uitleg aan {G}",
            "fouten in de administratie na de overstap [moeilijk te herstellen zijn|jarenlang kunnen doorwerken]",
            "{G} de lasten en lusten van het nieuwe stelsel eerlijk moeten kunnen delen",
            "werknemers in kleine bedrijven rond {P} vaker zonder pensioenregeling zitten",
            "uitstel alleen zinvol is als het de zorgvuldigheid werkelijk vergroot",
        ],
        requests: &[
            (
                "begrijpelijke uitleg over het pensioen aan {G}",
                "met pensioenuitvoerders afspraken te maken over begrijpelijke uitleg aan {G}, die vooraf bij een panel is getoetst",
            ),
            (
                "het verkleinen van de witte vlek",
                "een doel te stellen om het aantal werknemers zonder pensioen tot {Y} met {%} te verminderen",
            ),
            (
                "een meldpunt voor fouten bij de overstap",
                "een onafhankelijk meldpunt in te richten waar {G} terechtkunnen met fouten in hun pensioengegevens",
            ),
            (
                "pensioenopbouw voor zelfstandigen",
                "te onderzoeken hoe zelfstandigen vrijwillig bij een pensioenfonds kunnen aansluiten, en daarbij {k} varianten uit te werken",
            ),
            (
                "het dichten van de pensioenkloof",
                "maatregelen in kaart te brengen die de pensioenkloof tussen vrouwen en mannen binnen {k} jaar kunnen halveren",
            ),
        ],
    },
];
