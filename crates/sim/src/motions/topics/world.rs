//! Topics about defence, migration and the world outside.

use super::Topic;

pub(super) const TOPICS: &[Topic] = &[
    Topic {
        name: "defensie",
        abroad: false,
        dossiers: &[("36 124", "Toekomst van defensie"), ("36 600 X", "Begroting voor defensie"), ("27 830", "Materieel van defensie")],
        subjects: &["de inzetbaarheid van de krijgsmacht", "de werving van militairen", "de ruimte voor militaire oefenterreinen"],
        groups: &["militairen", "reservisten", "jonge militairen", "militairen in opleiding"],
        organisations: &["de krijgsmacht", "de defensie-industrie", "de veteranenorganisaties", "de provincies", "de militaire vakbonden"],
        facts: &[
            "bij de krijgsmacht {n} functies onvervuld zijn, vooral voor [technici|medici|specialisten in cyber]",
            "de kazerne bij {P} [achterstallig onderhoud van {m} kent|te klein is voor de groei tot {Y}]",
            "het aantal aanmeldingen van reservisten sinds {y} met {%} is gestegen, terwijl de keuring {k} maanden duurt",
            "{%} van het bestelde materieel later wordt geleverd dan in {y} was voorzien",
            "{x} veteranen met klachten langer dan {k} maanden op passende zorg wacht",
        ],
        considerations: &[
            "de veiligheid van Europa vraagt om een krijgsmacht die [snel inzetbaar|volledig gevuld|goed uitgerust] is",
            "{G} moeten kunnen rekenen op goed materieel en op waardering voor hun werk",
            "uitbreiding van oefenterreinen in {R} gevolgen heeft voor omwonenden, boeren en natuur",
            "gezamenlijke inkoop met bondgenoten [kosten bespaart|de levertijd verkort]",
            "bedrijven in {R} kunnen bijdragen aan onderhoud en productie, mits zij langer lopende opdrachten krijgen",
        ],
        requests: &[
            (
                "een snellere keuring van {G}",
                "de keuring van {G} binnen {k} weken te laten plaatsvinden en daarvoor ook artsen uit de regio in te zetten",
            ),
            (
                "de renovatie van de kazerne bij {P}",
                "de renovatie van de kazerne bij {P} naar voren te halen, zodat deze voor {Y} gereed is",
            ),
            (
                "zorg voor veteranen in {R}",
                "te borgen dat veteranen in {R} binnen {k} weken bij een gespecialiseerde behandelaar terechtkunnen",
            ),
            (
                "opdrachten voor bedrijven uit {R}",
                "bij de aanschaf van materieel te bevorderen dat ten minste {%} van het onderhoud door bedrijven in Nederland wordt gedaan",
            ),
            (
                "overleg met omwonenden over oefenterreinen",
                "omwonenden van oefenterreinen in {R} ten minste {k} maanden vooraf te betrekken bij plannen voor uitbreiding",
            ),
        ],
    },
    Topic {
        name: "asiel en integratie",
        abroad: false,
        dossiers: &[("19 637", "Beleid voor vreemdelingen"), ("32 824", "Integratie en inburgering")],
        subjects: &["de opvang van asielzoekers", "de doorstroom van statushouders", "de kwaliteit van de inburgering"],
        groups: &["statushouders", "asielzoekers", "nieuwkomers", "inburgeraars"],
        organisations: &["de gemeenten", "de opvangorganisaties", "de taalscholen", "de werkgevers", "de provincies"],
        facts: &[
            "in de opvang {N} statushouders verblijven die wachten op een woning",
            "de noodopvang in {P} per plek {k} keer zo duur is als een gewone opvanglocatie",
            "de behandeling van een asielaanvraag in {y} gemiddeld {k} maanden langer duurde dan de wettelijke termijn",
            "{x} inburgeraars in {R} langer dan {k} maanden op een taalcursus wacht",
            "na {k} jaar {%} van de statushouders betaald werk heeft",
        ],
        considerations: &[
            "een eerlijke spreiding over gemeenten voorkomt dat enkele plaatsen zoals {P} te zwaar worden belast",
            "[lange procedures|verhuizingen van locatie naar locatie] de integratie van {G} vertragen",
            "werk vanaf de eerste dag helpt om de taal te leren en [mee te doen|zelfstandig te worden]",
            "inwoners van {P} tijdig en eerlijk geïnformeerd willen worden over nieuwe opvang",
            "snelle duidelijkheid van belang is, ook wanneer het verzoek wordt afgewezen",
        ],
        requests: &[
            (
                "kleinschalige opvang in {R}",
                "te onderzoeken hoe in {R} voor {Y} kleinschalige opvang kan worden ingericht ter vervanging van dure noodopvang",
            ),
            ("taalles vanaf de eerste dag", "te regelen dat {G} binnen {k} weken na aankomst met taalles kunnen beginnen"),
            (
                "het sneller aan het werk helpen van {G}",
                "belemmeringen weg te nemen waardoor {G} nu langer dan {k} maanden op een werkvergunning wachten",
            ),
            (
                "betere communicatie met inwoners van {P}",
                "afspraken te maken over de wijze waarop inwoners van {P} en andere gemeenten vooraf over opvang worden geïnformeerd",
            ),
            ("doorstroomlocaties voor {G}", "de regeling voor doorstroomlocaties te verlengen en daarvoor {m} beschikbaar te houden"),
        ],
    },
    Topic {
        name: "europa en handel",
        abroad: true,
        dossiers: &[
            ("21 501", "Raad voor buitenlandse zaken"),
            ("31 985", "Buitenlands beleid en handel"),
            ("22 112", "Nieuwe voorstellen van de Europese Commissie"),
        ],
        subjects: &["de Europese samenwerking", "eerlijke handel", "de veiligheid aan de oostgrens van Europa"],
        groups: &["exporteurs", "Europese burgers", "mensenrechtenverdedigers", "grenswerkers"],
        organisations: &[
            "de Europese Commissie",
            "de buurlanden",
            "de exportbedrijven",
            "de maatschappelijke organisaties",
            "de Beneluxpartners",
        ],
        facts: &[
            "de uitvoer vanuit {R} naar landen buiten de Europese Unie in {y} met {%} is [gedaald|gestegen]",
            "bedrijven rond {P} door nieuwe heffingen een omzetverlies van {m} verwachten",
            "{k} lidstaten de afgesproken maatregelen nog niet hebben ingevoerd",
            "{x} grenswerkers tussen {P} en de buurlanden vastloopt in verschillen in [belasting|sociale zekerheid]",
            "van de producten uit verre landen die in {y} zijn onderzocht {%} niet aan de veiligheidseisen voldeed",
        ],
        considerations: &[
            "een open economie als de Nederlandse gebaat is bij [duidelijke internationale regels|sterke bondgenoten]",
            "economische belangen niet zwaarder mogen wegen dan de bescherming van mensenrechten",
            "{G} te weinig merken van afspraken die in Brussel worden gemaakt",
            "gezamenlijk optreden van de lidstaten meer effect heeft dan {k} verschillende nationale regelingen",
            "een goede verbinding over de grens bij {P} [banen|studieplekken|zorg] bereikbaar maakt voor inwoners van {R}",
        ],
        requests: &[
            (
                "het wegnemen van belemmeringen voor {G}",
                "zich in Europees verband in te zetten voor het wegnemen van belemmeringen voor {G}",
            ),
            (
                "een grensloket in {P}",
                "samen met de buurlanden een grensloket in {P} in te richten waar inwoners en bedrijven met al hun vragen terechtkunnen",
            ),
            (
                "strengere controle op onveilige producten",
                "te pleiten voor strengere controle op producten van buiten de Europese Unie en daartoe {k} concrete voorstellen te doen",
            ),
            (
                "steun voor getroffen bedrijven in {R}",
                "in beeld te brengen welke bedrijven in {R} door handelsconflicten worden getroffen en welke steun mogelijk is",
            ),
            (
                "het eerder informeren over Europese voorstellen",
                "de Kamer binnen {k} weken na een nieuw Europees voorstel te informeren over de gevolgen voor {G}",
            ),
        ],
    },
    Topic {
        name: "ontwikkelingshulp",
        abroad: true,
        dossiers: &[("36 180", "Internationale samenwerking"), ("36 600 XVII", "Begroting voor handel en ontwikkeling")],
        subjects: &["de noodhulp in conflictgebieden", "de toegang tot schoon water wereldwijd", "de bestrijding van honger"],
        groups: &["vluchtelingen", "vrouwen en meisjes", "kleine boeren in Afrika", "ontheemde gezinnen"],
        organisations: &[
            "de hulporganisaties",
            "de Verenigde Naties",
            "de Europese partners",
            "de kennisinstellingen",
            "de ontwikkelingsbanken",
        ],
        facts: &[
            "wereldwijd {k} miljoen mensen meer dan in {y} op noodhulp zijn aangewezen",
            "het budget voor noodhulp in {y} met {m} is verlaagd",
            "{%} van de hulp na {k} maanden nog niet bij de mensen in het getroffen gebied was aangekomen",
            "in de getroffen gebieden {x} kinderen niet naar school gaat",
            "door droogte in {k} landen de oogst met {%} is afgenomen",
        ],
        considerations: &[
            "{G} in een crisis als eersten worden getroffen en als laatsten hulp krijgen",
            "hulp het meeste effect heeft als [lokale organisaties|de mensen zelf] mede bepalen waar het geld heen gaat",
            "Nederlandse kennis van water en landbouw elders van grote waarde is",
            "voorspelbare financiering het mogelijk maakt om een ramp voor te zijn in plaats van alleen te reageren",
            "opvang in de eigen regio alleen werkt als er [onderwijs|werk|veiligheid] is voor {G}",
        ],
        requests: &[
            (
                "meer directe steun aan lokale organisaties",
                "ten minste {%} van de noodhulp rechtstreeks naar lokale organisaties te laten gaan",
            ),
            (
                "bescherming van {G} in conflictgebieden",
                "zich internationaal in te zetten voor de bescherming van {G} en daarvoor {m} te reserveren",
            ),
            (
                "de inzet van Nederlandse waterkennis",
                "een programma op te zetten waarin kennisinstellingen uit {P} en {Q} hun waterkennis delen met {k} partnerlanden",
            ),
            (
                "vrije doorgang voor hulpverlening",
                "in internationaal verband aan te dringen op vrije doorgang voor hulpverleners en bij overtreding {k} aanvullende maatregelen te bepleiten",
            ),
            (
                "een onafhankelijke evaluatie van de hulp",
                "de doelmatigheid van de hulp aan {G} over de afgelopen {k} jaar onafhankelijk te laten evalueren",
            ),
        ],
    },
    Topic {
        name: "Caribisch Nederland",
        abroad: true,
        dossiers: &[("36 600 IV", "Begroting voor koninkrijksrelaties"), ("35 632", "Bestaanszekerheid op de eilanden")],
        subjects: &[
            "de bestaanszekerheid op de eilanden",
            "de bereikbaarheid van Bonaire, Saba en Sint-Eustatius",
            "de samenwerking binnen het Koninkrijk",
        ],
        groups: &["eilandbewoners", "jongeren op de eilanden", "ouderen op Bonaire", "kleine ondernemers op de eilanden"],
        organisations: &[
            "de openbare lichamen",
            "de eilandsraden",
            "de zorginstellingen op de eilanden",
            "de telecombedrijven",
            "de luchtvaartmaatschappijen",
        ],
        facts: &[
            "op de eilanden {x} huishoudens onder het bestaansminimum leeft",
            "de prijs van boodschappen op Bonaire in {k} jaar tijd met {%} is gestegen",
            "een vliegticket tussen de eilanden [{%} meer kost dan in {y}|sinds {y} {%} duurder is geworden]",
            "{k} wetten die in Europees Nederland gelden op de eilanden nog niet zijn ingevoerd",
            "{%} van de jongeren na een studie in {P} niet naar de eilanden terugkeert",
        ],
        considerations: &[
            "{G} Nederlanders zijn en recht hebben op een gelijkwaardige behandeling",
            "de kleine schaal van de eilanden om maatwerk vraagt, maar geen reden mag zijn voor [achterstand|uitstel]",
            "goede verbindingen door de lucht en over zee voor {G} een eerste levensbehoefte zijn",
            "bescherming van koraal en natuur ook voor het toerisme van levensbelang is",
            "besluiten over de eilanden niet zonder de eilanden mogen worden genomen",
        ],
        requests: &[
            (
                "een lager tarief voor vluchten tussen de eilanden",
                "uit te werken hoe een vluchttarief voor {G} kan worden begrensd, en daarvoor {m} te dekken",
            ),
            (
                "een gelijkwaardig bestaansminimum voor {G}",
                "toe te werken naar een bestaansminimum waarmee {G} in {Y} in hun kosten kunnen voorzien",
            ),
            (
                "het wegwerken van achterstanden in wetgeving",
                "een planning te maken waarmee de {k} belangrijkste achterstanden in wetgeving voor {Y} zijn weggewerkt",
            ),
            (
                "begeleiding van studenten van de eilanden",
                "te voorzien in betere begeleiding van studenten die voor hun opleiding naar {P} of {Q} komen",
            ),
            (
                "bescherming van het koraal",
                "een herstelprogramma voor het koraal rond de eilanden voort te zetten en {G} daarbij te betrekken",
            ),
        ],
    },
];
