//! Topics about education, youth, culture and sport.

use super::Topic;

pub(super) const TOPICS: &[Topic] = &[
    Topic {
        name: "onderwijs",
        abroad: false,
        dossiers: &[
            ("31 293", "Primair onderwijs"),
            ("31 289", "Voortgezet onderwijs"),
            ("36 600 VIII", "Begroting voor onderwijs, cultuur en wetenschap"),
        ],
        subjects: &["de basisvaardigheden van leerlingen", "het lerarentekort", "de kansen van leerlingen"],
        groups: &["leerlingen", "scholieren", "leerlingen met een ondersteuningsbehoefte", "kinderen met een leerachterstand"],
        organisations: &[
            "de schoolbesturen",
            "de vakbonden in het onderwijs",
            "de lerarenopleidingen",
            "de ouderorganisaties",
            "de gemeenten",
        ],
        facts: &[
            "{x} vijftienjarigen onvoldoende kan lezen om [een bijsluiter te begrijpen|zich in de samenleving te redden]",
            "het lerarentekort op basisscholen in {P} is opgelopen tot {%} van de banen",
            "scholen in {R} in {y} gemiddeld {k} dagen [een klas naar huis moesten sturen|geen bevoegde leraar voor de klas hadden]",
            "[ruim|bijna] {N} kinderen langdurig thuiszitten zonder passend onderwijs",
            "het aantal zij-instromers sinds {y} met {%} is gedaald door [onzekerheid over de bekostiging|een gebrek aan begeleiding]",
        ],
        considerations: &[
            "goed kunnen lezen, schrijven en rekenen voor {G} de basis is voor de rest van hun leven",
            "scholen rust en een lange adem nodig hebben in plaats van telkens nieuwe tijdelijke subsidies",
            "de kansen van een kind niet mogen afhangen van [de wijk waarin het opgroeit|het inkomen van de ouders]",
            "een kleine school in een dorp bij {P} van grote waarde is voor de gemeenschap",
            "begeleiding van beginnende leraren voorkomt dat zij binnen {k} jaar het onderwijs verlaten",
        ],
        requests: &[
            (
                "structurele middelen voor basisvaardigheden",
                "de tijdelijke middelen voor basisvaardigheden vanaf {Y} om te zetten in structurele bekostiging voor alle scholen",
            ),
            (
                "een aanpak van het lerarentekort in {P}",
                "een aanpak van het lerarentekort in {P} en {Q} op te stellen, met aandacht voor [woonruimte|reiskosten|begeleiding] voor nieuwe leraren",
            ),
            (
                "behoud van kleine scholen in {R}",
                "te voorkomen dat kleine scholen in {R} sluiten zolang er binnen {k} kilometer geen alternatief is",
            ),
            (
                "passend onderwijs voor thuiszitters",
                "te regelen dat iedere thuiszitter binnen {k} weken een passend aanbod van onderwijs krijgt",
            ),
            ("minder administratie voor leraren", "te schrappen in verplichtingen die leraren veel tijd kosten en weinig opleveren"),
        ],
    },
    Topic {
        name: "studenten",
        abroad: false,
        dossiers: &[("31 288", "Hoger onderwijs en onderzoek"), ("31 524", "Beroepsonderwijs"), ("24 724", "Financiering van studies")],
        subjects: &["het aanbod van stages", "de positie van mbo-studenten", "de financiering van wetenschappelijk onderzoek"],
        groups: &["studenten", "mbo-studenten", "stagiairs", "jonge vakmensen"],
        organisations: &["de hogescholen", "de universiteiten", "de mbo-instellingen", "de studentenorganisaties", "de werkgevers"],
        facts: &[
            "{%} van de mbo-studenten geen vergoeding ontvangt voor een stage van meer dan {k} maanden",
            "in {P} [{n} studentenkamers ontbreken|een kamer gemiddeld {k} maanden zoeken kost]",
            "{x} studenten last heeft van [prestatiedruk|eenzaamheid|geldzorgen]",
            "hogescholen in {R} tussen {y} en {Y} naar verwachting {%} minder studenten zullen tellen",
            "door bezuinigingen van {m} [{k} kleine opleidingen dreigen te verdwijnen|onderzoekslijnen worden stopgezet]",
        ],
        considerations: &[
            "vakmensen onmisbaar zijn voor [de zorg, de bouw en de techniek|de economie van {R}]",
            "{G} recht hebben op een gelijke behandeling, ongeacht het niveau van hun opleiding",
            "kleine opleidingen buiten de Randstad van belang zijn voor de arbeidsmarkt in {R}",
            "onderzoek uit nieuwsgierigheid vaak de basis legt voor latere toepassingen",
            "discriminatie bij het vinden van een stage de start van {G} op de arbeidsmarkt ernstig schaadt",
        ],
        requests: &[
            (
                "een passende stagevergoeding voor {G}",
                "met werkgevers tot bindende afspraken te komen over een passende stagevergoeding voor {G}",
            ),
            (
                "behoud van kleine opleidingen in {R}",
                "in de bekostiging rekening te houden met kleine opleidingen in {R} die van belang zijn voor de regionale arbeidsmarkt",
            ),
            (
                "meer studentenhuisvesting in {P}",
                "te bevorderen dat in {P} voor {Y} ten minste {n} extra kamers voor {G} beschikbaar komen",
            ),
            (
                "de aanpak van stagediscriminatie",
                "een meldpunt voor stagediscriminatie in te richten en onderwijsinstellingen te verplichten meldingen op te volgen",
            ),
            (
                "zekerheid voor jonge onderzoekers",
                "afspraken te maken waardoor ten minste {%} van de jonge onderzoekers na {k} jaar een vast contract krijgt",
            ),
        ],
    },
    Topic {
        name: "kinderopvang",
        abroad: false,
        dossiers: &[("31 322", "Opvang van kinderen"), ("36 513", "Nieuwe financiering van de kinderopvang")],
        subjects: &["de toegankelijkheid van kinderopvang", "de kwaliteit van de opvang", "de combinatie van werk en zorg"],
        groups: &["werkende ouders", "alleenstaande ouders", "jonge ouders", "ouders van peuters"],
        organisations: &["de kinderopvangorganisaties", "de ouderorganisaties", "de vakbonden", "de GGD'en", "de gemeenten"],
        facts: &[
            "in {P} de wachttijd voor een plek op de kinderopvang is opgelopen tot {k} maanden",
            "de uurprijs van kinderopvang sinds {y} met {%} is gestegen, waardoor ouders [minder gaan werken|een hogere eigen bijdrage betalen]",
            "in {R} naar schatting {n} pedagogisch medewerkers te weinig zijn",
            "{%} van de opvanglocaties in handen is van [internationale investeerders|grote ketens]",
            "{x} ouders aangeeft meer te willen werken als opvang betaalbaar zou zijn",
        ],
        considerations: &[
            "toegankelijke kinderopvang voor {G} het verschil kan maken tussen wel of niet werken",
            "publiek geld voor kinderen bestemd is en niet voor [hoge winstuitkeringen|schulden van eigenaren]",
            "vaste gezichten op de groep van belang zijn voor de ontwikkeling van jonge kinderen",
            "samenwerking tussen opvang en basisschool in {P} [de overgang van peuter naar kleuter soepeler maakt|taalachterstand helpt voorkomen]",
            "een nieuw stelsel eenvoudig moet zijn en {G} niet met terugvorderingen mag confronteren",
        ],
        requests: &[
            (
                "een eenvoudige vergoeding voor {G}",
                "de nieuwe vergoeding zo vorm te geven dat {G} vooraf weten waar zij recht op hebben en achteraf niets hoeven terug te betalen",
            ),
            (
                "meer pedagogisch medewerkers in {R}",
                "een plan te maken om tot {Y} {n} extra pedagogisch medewerkers in {R} op te leiden en te behouden",
            ),
            (
                "grenzen aan winst in de kinderopvang",
                "te verkennen hoe winstuitkeringen in de kinderopvang kunnen worden begrensd op {%} van de omzet",
            ),
            ("opvang op het platteland rond {P}", "te bevorderen dat kleine opvanglocaties in dorpen rond {P} open kunnen blijven"),
            (
                "samenwerking tussen opvang en basisscholen",
                "belemmeringen weg te nemen voor opvangorganisaties en scholen die onder een dak willen samenwerken",
            ),
        ],
    },
    Topic {
        name: "cultuur en media",
        abroad: false,
        dossiers: &[("32 820", "Beleid voor cultuur"), ("32 827", "Toekomst van de media")],
        subjects: &["de toegang tot bibliotheken", "de lokale journalistiek", "de positie van makers"],
        groups: &["makers", "jonge musici", "freelance journalisten", "beeldend kunstenaars"],
        organisations: &["de bibliotheken", "de culturele fondsen", "de lokale omroepen", "de VNG", "de musea"],
        facts: &[
            "in {k} gemeenten in {R} geen volwaardige bibliotheek meer is",
            "het mediane inkomen van makers in {y} {%} onder dat van vergelijkbare werknemers lag",
            "de lokale omroep van {P} met [{k} betaalde krachten|uitsluitend vrijwilligers] het nieuws van {n} straten moet volgen",
            "{%} van de culturele middelen terechtkomt in de vier grootste steden",
            "het poppodium in {P} door gestegen [huur|energiekosten] een tekort van {n} euro per maand heeft",
        ],
        considerations: &[
            "een bibliotheek meer is dan boeken en ook helpt bij [digitale vaardigheden|het leren van de taal|contact met de overheid]",
            "onafhankelijke journalistiek in {R} van belang is om het lokale bestuur te kunnen controleren",
            "{G} een eerlijke beloning verdienen voor werk dat met publiek geld wordt betaald",
            "cultuur voor iedereen bereikbaar moet zijn, ook in {P} en {Q}",
            "erfgoed dat eenmaal verloren is gegaan niet meer kan worden teruggebracht",
        ],
        requests: &[
            (
                "een bibliotheek in iedere gemeente in {R}",
                "erop toe te zien dat in {Y} iedere gemeente in {R} een volwaardige bibliotheek heeft",
            ),
            (
                "een fonds voor lokale journalistiek",
                "de mogelijkheden te verkennen van een onafhankelijk fonds van {m} voor lokale journalistiek",
            ),
            ("eerlijke beloning voor {G}", "eerlijke beloning voor {G} als voorwaarde op te nemen bij het verstrekken van subsidies"),
            (
                "een betere spreiding van culturele middelen",
                "in de volgende periode ten minste {%} van de middelen buiten de grote steden te besteden, waaronder in {R}",
            ),
            (
                "het behoud van erfgoed in {P}",
                "de staat van kwetsbaar erfgoed in {P} en {Q} in beeld te brengen en een herstelplan op te stellen",
            ),
        ],
    },
    Topic {
        name: "sport",
        abroad: false,
        dossiers: &[("30 234", "Toekomst van de sport"), ("32 805", "Bewegen en sportaccommodaties")],
        subjects: &["de toegankelijkheid van sport", "zwemles voor kinderen", "veiligheid in de sport"],
        groups: &["sporters", "vrijwilligers", "kinderen zonder zwemdiploma", "sporters met een beperking"],
        organisations: &["de sportbonden", "de sportverenigingen", "de gemeenten", "de zwembaden", "de buurtsportcoaches"],
        facts: &[
            "{%} van de kinderen in {P} de basisschool verlaat zonder zwemdiploma",
            "sinds {y} {n} zwembaden en sporthallen hun openingstijden hebben beperkt door de [energieprijzen|onderhoudskosten]",
            "{x} sportverenigingen in {R} te weinig vrijwilligers heeft om alle teams te begeleiden",
            "het aantal meldingen van grensoverschrijdend gedrag in de sport in {y} met {%} is gestegen",
            "sporthulpmiddelen voor {g} in sommige gemeenten wel en in {P} niet worden vergoed",
        ],
        considerations: &[
            "sport bijdraagt aan [gezondheid|ontmoeting|zelfvertrouwen] en daarom voor iedereen betaalbaar moet zijn",
            "Nederland een waterland is en ieder kind moet kunnen zwemmen",
            "{G} zich op de club veilig moeten voelen, in en buiten de wedstrijd",
            "verenigingen zonder hulp de verduurzaming van hun [kantine en velden|accommodatie] niet kunnen betalen",
            "buurtsportcoaches in {P} en {Q} kinderen bereiken die anders niet zouden bewegen",
        ],
        requests: &[
            (
                "een vangnet voor zwemles",
                "een vangnet uit te werken zodat ieder kind in {R} voor het einde van de basisschool zwemles heeft gehad",
            ),
            (
                "het behoud van zwembaden in {R}",
                "te voorkomen dat zwembaden in {R} sluiten, en daarvoor {m} voor verduurzaming vrij te maken",
            ),
            ("veilig sporten voor {G}", "te bevorderen dat sportbonden hun aanpak van grensoverschrijdend gedrag voor {Y} laten toetsen"),
            (
                "minder regeldruk voor sportverenigingen",
                "de regeldruk voor verenigingen die op vrijwilligers draaien met {%} te verminderen",
            ),
            (
                "gelijke vergoeding van sporthulpmiddelen",
                "te bevorderen dat sporthulpmiddelen in alle gemeenten op gelijke wijze worden vergoed",
            ),
        ],
    },
];
