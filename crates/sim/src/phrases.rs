//! The sentences and parts of sentences from which `answer` puts texts together.
//!
//! Everything before [`ENGLISH`] is plain Dutch without names, figures or brackets, so that a check for language or
//! for leaked fragments finds nothing in a clean answer.

/// Whom a motion can ask, as it stands behind `verzoekt`.
pub(crate) const ASKED: [&str; 8] = [
    "de regering ",
    "de regering\n",
    "het kabinet ",
    "het kabinet\n",
    "de minister ",
    "de staatssecretaris ",
    "het Presidium ",
    "de Kamer ",
];

/// Followed by what is asked.
pub(crate) const BEFORE_REQUEST: [&str; 8] = [
    "De motie vraagt de regering",
    "Met deze motie vraagt de Kamer de regering",
    "In deze motie krijgt de regering de opdracht",
    "De indieners vragen de regering",
    "Het voorstel is om de regering te vragen",
    "De Kamer wil de regering vragen",
    "Deze motie draagt de regering op",
    "De kern van de motie: de regering wordt gevraagd",
];

/// First sentences for a text without a request that can be quoted.
pub(crate) const OPENINGS: [&str; 12] = [
    "De motie gaat over een onderwerp waar veel mensen in hun dagelijks leven mee te maken hebben.",
    "Met deze motie vraagt de Kamer om een duidelijke keuze van de regering op dit onderwerp.",
    "De indieners vinden dat de regering meer moet doen dan er nu gebeurt.",
    "In deze motie wordt de regering gevraagd om met een concreet plan te komen.",
    "Deze motie wil dat er eindelijk werk wordt gemaakt van een probleem dat al jaren speelt.",
    "De Kamer spreekt met deze motie uit dat het beleid op dit punt anders moet.",
    "Het voorstel vraagt om een betere verdeling van geld en aandacht over het hele land.",
    "De motie roept de regering op om eerst te luisteren naar de mensen die het aangaat.",
    "Volgens deze motie moeten de regels eenvoudiger worden voor iedereen die ermee werkt.",
    "De indieners vragen aandacht voor een groep die nu vaak buiten beeld blijft.",
    "Deze motie gaat over de vraag wie er verantwoordelijk is en wie de rekening betaalt.",
    "De motie vraagt om een onderzoek, zodat de Kamer daarna een goed besluit kan nemen.",
];

/// Followed by one of [`REASONS`].
pub(crate) const REASON_LEADS: [&str; 14] = [
    "Dat is volgens de indieners nodig, omdat",
    "De aanleiding is dat",
    "De indieners wijzen erop dat",
    "In de toelichting staat dat",
    "Zij maken zich zorgen, omdat",
    "Daarbij speelt mee dat",
    "Ook telt voor hen dat",
    "Het komt erop neer dat",
    "Uit gesprekken in het land bleek dat",
    "De achtergrond is dat",
    "Zij vinden het niet eerlijk dat",
    "Een belangrijk argument is dat",
    "Daar komt bij dat",
    "Het gaat de indieners erom dat",
];

/// Subordinate clauses: the verb comes last.
pub(crate) const REASONS: [&str; 28] = [
    "veel mensen hier nu te lang op moeten wachten",
    "de huidige regels in de praktijk niet goed werken",
    "gemeenten te weinig geld krijgen voor deze taak",
    "de kosten voor huishoudens steeds verder oplopen",
    "kleine bedrijven vastlopen in ingewikkelde procedures",
    "jongeren hierdoor minder kansen krijgen",
    "ouderen vaker zonder de juiste hulp thuis zitten",
    "het toezicht op dit moment tekortschiet",
    "niemand precies weet hoe groot het probleem is",
    "eerdere toezeggingen nog niet zijn nagekomen",
    "de verschillen tussen regio's te groot worden",
    "mensen het vertrouwen in de overheid verliezen",
    "de natuur en het water onder druk staan",
    "er te weinig woningen voor starters worden gebouwd",
    "leraren en zorgverleners te veel tijd kwijt zijn aan papierwerk",
    "het openbaar vervoer in dunbevolkte gebieden verdwijnt",
    "andere landen dit al veel beter hebben geregeld",
    "de gevolgen vooral bij de laagste inkomens terechtkomen",
    "boeren en tuinders behoefte hebben aan zekerheid",
    "de veiligheid op straat voor bewoners moet verbeteren",
    "goede informatie voor burgers moeilijk te vinden is",
    "de wachtlijsten in de zorg blijven groeien",
    "patiënten en hun familie duidelijkheid verdienen",
    "het geld nu niet terechtkomt waar het nodig is",
    "de afspraken met de sector te vrijblijvend zijn gebleven",
    "kinderen nooit de dupe mogen worden van trage besluiten",
    "de uitvoering door verschillende ministeries langs elkaar heen loopt",
    "er nog geen goede cijfers over de afgelopen jaren beschikbaar zijn",
];

/// Followed by one of [`EFFECTS`].
pub(crate) const EFFECT_LEADS: [&str; 10] = [
    "Als de motie wordt aangenomen,",
    "Stemt een meerderheid voor, dan",
    "Bij steun van de Kamer",
    "Als het aan de indieners ligt,",
    "In dat geval",
    "Concreet betekent dit:",
    "Wordt het voorstel gesteund, dan",
    "Na een positieve stemming",
    "Volgens het voorstel",
    "Op korte termijn",
];

/// Main clauses with the verb first.
pub(crate) const EFFECTS: [&str; 24] = [
    "moet de minister de Kamer hierover voor de zomer informeren",
    "komt er een plan met duidelijke doelen en een vaste planning",
    "krijgen gemeenten meer ruimte om zelf keuzes te maken",
    "gaat het kabinet in gesprek met alle betrokken organisaties",
    "wordt het bestaande beleid opnieuw tegen het licht gehouden",
    "komt er extra geld vrij voor de mensen die het hardst geraakt worden",
    "worden de regels eenvoudiger en beter te begrijpen",
    "moet de regering uitleggen welke stappen er al gezet zijn",
    "wordt er eerst een proef gehouden in een paar gemeenten",
    "krijgt de Kamer elk jaar een overzicht van de voortgang",
    "mogen de kosten niet worden doorgeschoven naar burgers",
    "wordt er samengewerkt met scholen, zorginstellingen en bedrijven",
    "moet het toezicht strenger en tegelijk sneller worden",
    "verandert er voor de meeste mensen op korte termijn weinig",
    "blijft er voldoende tijd over om zich op de nieuwe situatie voor te bereiden",
    "worden knelpunten per regio in kaart gebracht",
    "zoekt het kabinet daarvoor dekking binnen de eigen begroting",
    "krijgen inwoners eerder te horen waar zij aan toe zijn",
    "komt er een vast aanspreekpunt voor vragen en klachten",
    "wordt de maatregel na twee jaar grondig geëvalueerd",
    "gelden overal in het land dezelfde voorwaarden",
    "moet Nederland zich hier ook in Europa sterk voor maken",
    "worden ervaringsdeskundigen vanaf het begin betrokken",
    "stopt de huidige aanpak en begint er een nieuwe",
];

/// Whole sentences of many lengths, to end on.
pub(crate) const CLOSINGS: [&str; 24] = [
    "Zo wordt het eerlijker.",
    "De Kamer stemt er later over.",
    "Daarmee komt er meer duidelijkheid.",
    "Het doel is een snelle en blijvende oplossing.",
    "De regering houdt zelf de keuze hoe zij dit doet.",
    "Zo weten mensen eerder waar zij op kunnen rekenen.",
    "De uitvoering blijft een taak van het ministerie zelf.",
    "De indieners hopen daarmee op minder onzekerheid bij gezinnen.",
    "Wat dit gaat kosten, moet de regering eerst nog laten uitrekenen.",
    "Daarmee willen zij voorkomen dat hetzelfde probleem straks terugkomt.",
    "De plannen gelden voor het hele land en niet alleen voor de grote steden.",
    "Voor mensen met een laag inkomen kan dit op den duur een groot verschil maken.",
    "De motie verplicht tot niets, maar geeft de regering wel een duidelijk signaal mee.",
    "Daarbij moet rekening worden gehouden met wat kleine ondernemers in de praktijk aankunnen.",
    "De gemeenten, provincies en waterschappen krijgen daarbij een eigen rol en eigen budget.",
    "Zo blijft er geld over voor andere plannen die volgens de Kamer minstens zo dringend zijn.",
    "Of het zover komt, hangt vooral af van de steun die de indieners bij andere partijen vinden.",
    "Het is de bedoeling dat de eerste resultaten al binnen een jaar voor iedereen zichtbaar worden.",
    "De indieners benadrukken dat het niet om meer regels gaat, maar om betere afspraken met elkaar.",
    "Voor wie hier dagelijks mee werkt, moet het vooral eenvoudiger worden en minder tijd gaan kosten.",
    "Tot die tijd blijven de bestaande afspraken gelden en verandert er voor niemand iets in de praktijk.",
    "Een meerderheid van de Kamer moet het voorstel eerst steunen voordat de minister ermee aan de slag gaat.",
    "Als het niet lukt om op tijd een oplossing te vinden, moet de minister zich daarover in de Kamer verantwoorden.",
    "Daarna kan de Kamer met de nieuwe cijfers in de hand beslissen welke maatregelen op langere termijn nodig blijven.",
];

/// What a model says when it forgets the language.
pub(crate) const ENGLISH: [&str; 10] = [
    "This motion asks the government to come up with a clear plan for the people who are affected by the problem.",
    "The members of parliament believe that the current rules do not work well in practice.",
    "They would like the minister to report back to the House before the end of the year.",
    "According to the motion, the costs should not be passed on to the citizens.",
    "If the motion is adopted, the government will have to look at this again.",
    "The reason for this is that many people have been waiting for help for far too long.",
    "It also points out that other countries have already found a better solution to this.",
    "In short, the motion wants the government to do more than it does at the moment.",
    "The proposal would make it easier for small businesses to follow the rules.",
    "This would give local councils more room to make their own choices.",
];

/// Lines in Arabic and Cyrillic script.
pub(crate) const OTHER_SCRIPTS: [&str; 6] = [
    "يطلب هذا الاقتراح من الحكومة أن تضع خطة واضحة",
    "على الوزير أن يبلغ البرلمان بالنتائج قبل نهاية العام",
    "هذا شرح قصير للاقتراح",
    "Это предложение просит правительство подготовить ясный план",
    "Министр должен сообщить парламенту о результатах",
    "Краткое объяснение предложения",
];

/// What a model says when it will not answer.
pub(crate) const REFUSALS: [&str; 3] = [
    "I'm sorry, but I can't help with that request.",
    "Ik kan hier helaas niet bij helpen.",
    "I cannot provide a summary of this content.",
];

/// Words for lists of short terms.
pub(crate) const TOPICS: [&str; 24] = [
    "zorg",
    "onderwijs",
    "wonen",
    "klimaat",
    "landbouw",
    "veiligheid",
    "belastingen",
    "defensie",
    "natuur",
    "verkeer",
    "jeugd",
    "ouderen",
    "energie",
    "water",
    "sociale zekerheid",
    "arbeidsmarkt",
    "cultuur",
    "sport",
    "rechtspraak",
    "migratie",
    "digitalisering",
    "gemeenten",
    "Europa",
    "begroting",
];
